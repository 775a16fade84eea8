"""`rtvp calibrate`: thresholds from a user's own parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtvp.cli_common import reference_images
from rtvp.errors import RtvpError
from rtvp.terminal import make_console, make_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtvp.predict import Calibration, Detector
    from rtvp.predict.calibration import Curve, Scores, Target
    from rtvp.tiling import Tiling
    from rtvp.types import Prompt

PLOT_KINDS = ("png", "svg")


def calibrate_command(
    good: Annotated[
        list[str], typer.Argument(metavar="GOOD...", help="Images of good parts: files, folders, patterns.")
    ],
    prompts: Annotated[str, typer.Option(help="What is looked for, as in `rtvp detect`.")],
    defective: Annotated[
        list[str] | None, typer.Option(help="Images of defective parts; repeat for several folders.")
    ] = None,
    target_false_alarm: Annotated[
        float | None, typer.Option(help="At most this share of good parts is to be found NOT OK, say 0.01.")
    ] = None,
    target_miss: Annotated[
        float | None, typer.Option(help="At most this share of defective parts is to be found OK, say 0.05.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="That the promise holds on other images of the same kind.")
    ] = 0.95,
    out: Annotated[Path, typer.Option(help="File of the thresholds.")] = Path("rtvp-calibration.json"),
    plot: Annotated[Path | None, typer.Option(help="Also draw the trade-off to this .png or .svg.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Images that go through the network together.")] = 1,
    size: Annotated[int | None, typer.Option(help="As in `rtvp detect`.")] = None,
    tile: Annotated[str | None, typer.Option(help="As in `rtvp detect`.")] = None,
    weights: Annotated[Path | None, typer.Option(help="As in `rtvp detect`.")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="As in `rtvp detect`; other images than GOOD.")
    ] = None,
) -> None:
    """Find a threshold for each prompt, from images of good parts that are not used for anything else.

    Model, size, tiles, reference and prompts have to be those of `rtvp detect --calibration` later.
    """
    if (target_false_alarm is None) == (target_miss is None):
        raise RtvpError("expected one of --target-false-alarm and --target-miss")
    if target_miss is not None and not defective:
        raise RtvpError("--target-miss needs --defective, images of defective parts")
    if plot is not None and _kind(plot) not in PLOT_KINDS:
        raise RtvpError(f"--plot: expected a .png or .svg file, got {plot}")
    from rtvp.data.prompts import parse_prompts
    from rtvp.mmio.taxonomy import taxonomy
    from rtvp.predict import Calibration, load, usual_runtime
    from rtvp.predict.calibration import choose_thresholds
    from rtvp.predict.prompt_check import check_prompts
    from rtvp.tiling import Tiling

    wanted, tiling = parse_prompts(prompts), Tiling.of(tile)
    runtime = None if reference else usual_runtime(weights, device)  # as `rtvp detect` will choose
    detector = load(weights, device, size, runtime)
    if reference:
        from rtvp.data.images import find_images

        detector = detector.compared_with(reference_images(reference, find_images(good)))
    good_scores = _scores(detector, good, wanted, tiling, batch, "good")
    defective_scores = _scores(detector, defective, wanted, tiling, batch, "defective") if defective else None
    target: Target = "false alarms" if target_miss is None else "misses"
    rate = target_miss if target_false_alarm is None else target_false_alarm
    assert rate is not None
    thresholds, false_alarms, misses, curve = choose_thresholds(
        good_scores, defective_scores, target, rate, confidence
    )
    names = [prompt.name for prompt in wanted]
    calibration = Calibration(
        thresholds=dict(zip(names, thresholds.tolist(), strict=True)),
        target=target,
        rate=rate,
        confidence=confidence,
        false_alarms=false_alarms,
        misses=misses,
        settings=detector.settings(wanted, tiling),
    )
    if plot is not None:
        _draw(curve, calibration, plot)
    calibration.save(out)
    for warning in check_prompts(detector, wanted, sorted(taxonomy().categories), good_scores):
        make_console().print(f"warning: {warning}", soft_wrap=True)
    _tell(calibration, out)


def _scores(
    detector: Detector,
    sources: Sequence[str],
    prompts: Sequence[Prompt],
    tiling: Tiling | None,
    batch: int,
    kind: str,
) -> Scores:
    """[images, prompts] the highest scores; RtvpError if an image cannot be read: it would go missing."""
    import numpy as np

    from rtvp.data.images import find_images
    from rtvp.predict import ImageProblem

    found = []
    with make_progress() as progress:
        paths = find_images(list(sources))
        results = detector.detect_many(paths, prompts, batch, threshold=0.0, tile=tiling)
        for result in progress.track(results, len(paths), description=f"{kind} images"):
            if isinstance(result, ImageProblem):
                raise RtvpError(result.message)
            found.append(result.presence)
    return np.array(found, dtype=np.float64)


def _tell(calibration: Calibration, out: Path) -> None:
    console = make_console()
    for name, threshold in calibration.thresholds.items():
        console.print(f"{name}: {threshold:.4f}", soft_wrap=True)
    console.print(
        f"{calibration.target} of other images: at most {100 * calibration.rate:g} %, with confidence "
        f"{100 * calibration.confidence:g} %",
        soft_wrap=True,
    )
    console.print(f"good images found NOT OK here: {calibration.false_alarms}", soft_wrap=True)
    if calibration.misses is not None:
        console.print(f"defective images found OK here: {calibration.misses}", soft_wrap=True)
    console.print(f"thresholds in {out}: rtvp detect ... --calibration {out}", soft_wrap=True)


def _kind(plot: Path) -> str:
    return plot.suffix.lower().removeprefix(".")


def _draw(curve: Curve, calibration: Calibration, path: Path) -> None:
    """False alarms against misses where there are defective images, else against the threshold's rank."""
    from rtvp.files import replacing
    from rtvp.mmio.plot_style import LIGHT, PALETTE, bare, new_figure, settings

    kind = _kind(path)
    with settings(LIGHT) as left_out:
        figure = new_figure(4.5, 3.6)
        axes = figure.subplots()
        bare(axes, grid="both")
        share = 100 * curve.false_alarms
        if curve.misses is None:
            axes.plot(share, color=PALETTE[0])
            axes.plot(curve.chosen, share[curve.chosen], "o", color=PALETTE[1])
            axes.set(xlabel="threshold, from strict to lax", ylabel="good images found NOT OK, %")
        else:
            missed = 100 * curve.misses
            axes.step(share, missed, where="post", color=PALETTE[0])
            axes.plot(share[curve.chosen], missed[curve.chosen], "o", color=PALETTE[1])
            axes.set(xlabel="good images found NOT OK, %", ylabel="defective images found OK, %")
        axes.set_title(f"{calibration.target} at most {100 * calibration.rate:g} %", fontsize=9)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata=left_out[kind])
