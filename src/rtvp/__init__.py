"""RTVP: find industrial defects by name, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtvp.predict import Calibration, Detector, ImageProblem, Result, load

__version__ = "0.1.0"
__all__ = ["Calibration", "Detector", "ImageProblem", "Result", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # The predictor brings torch along; whoever wants only the version, the benchmark builder or `rtvp --help`
    # does not wait for it.
    if name in ("Calibration", "Detector", "ImageProblem", "Result", "load"):
        import rtvp.predict

        return getattr(rtvp.predict, name)
    raise AttributeError(f"module 'rtvp' has no attribute {name!r}")
