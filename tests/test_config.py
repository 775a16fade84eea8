from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rtvp.config import DetectorConfig, StageConfig, StrictModel, TrainConfig, load_config, parse_config
from rtvp.errors import RtvpError

TRAIN = {"data": {"sources": ["a"]}, "training": {"steps": 10}}


def parse(content: object, schema: type[StrictModel] = DetectorConfig) -> StrictModel:
    return parse_config(content, schema, where="here.yaml")


def test_defaults_are_valid_and_survive_json() -> None:
    config = DetectorConfig()
    assert parse(config.model_dump(mode="json")) == config
    training = TrainConfig.model_validate(TRAIN)
    assert parse(training.model_dump(mode="json"), TrainConfig) == training


def test_yaml_and_its_lists(tmp_path: Path) -> None:
    path = tmp_path / "detector.yaml"
    path.write_text("strides: [4, 8]\nhead_strides: [8]\nchannels: 64\nvisual_prompt: {patch_size: 64}\n")
    config = load_config(path, DetectorConfig)
    assert (config.strides, config.head_strides, config.channels) == ((4, 8), (8,), 64)
    assert config.visual_prompt.patch_size == 64
    path.write_text("")
    assert load_config(path, DetectorConfig) == DetectorConfig()


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "configs").glob("*.yaml")), ids=lambda p: p.name
)
def test_shipped_configurations_are_valid(path: Path) -> None:
    assert isinstance(load_config(path, TrainConfig), TrainConfig)


def test_configurations_do_not_change() -> None:
    with pytest.raises(ValidationError):
        DetectorConfig().channels = 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"colour": 1}, "here.yaml: colour: Extra inputs are not permitted, got 1"),
        ({"visual_prompt": {"keeep": 1}}, "here.yaml: visual_prompt.keeep: Extra inputs"),
        ({"channels": "96"}, "here.yaml: channels: Input should be a valid integer, got '96'"),
        ({"channels": 96.0}, "channels: Input should be a valid integer"),
        ({"channels": True}, "channels: Input should be a valid integer"),
        ({"channels": 4}, "channels: Input should be greater than or equal to 8, got 4"),
        ({"channels": 10**9}, "channels: Input should be less than or equal to 1024"),
        ({"channels": 92}, "channels: expected a multiple of 8 (2 x heads), got 92"),
        ({"channels": 33, "interaction": {"enabled": False}}, "channels: expected a multiple of 2"),
        ({"strides": [8, 12]}, "strides: expected rising values out of (4, 8, 16, 32), got (8, 12)"),
        ({"strides": [16, 8]}, "strides: expected rising values"),
        ({"strides": [8, 8, 16]}, "strides: expected rising values"),
        ({"strides": []}, "strides: expected rising values"),
        ({"strides": [8, 16]}, "head_strides: expected rising values out of (8, 16), got (8, 16, 32)"),
        ({"head_strides": [16, 8]}, "head_strides: expected rising values"),
        ({"head_strides": [8, 8]}, "head_strides: expected rising values"),
        ({"head_strides": []}, "head_strides: expected rising values"),
        ({"input_size": 100}, "input_size: Input should be a multiple of 32, got 100"),
        ({"visual_prompt": {"keep": 0}}, "visual_prompt.keep: Input should be greater than 0"),
        ({"visual_prompt": {"keep": float("nan")}}, "visual_prompt.keep: Input should be"),
        ([], "here.yaml: (top level): Input should be a valid dictionary"),
        ({1: 2}, "here.yaml: 1"),
        ({"a": 1, "b": 2, "c": 3}, "(and 2 more)"),
    ],
    ids=str,
)
def test_errors_name_the_key_and_what_came(content: object, message: str) -> None:
    with pytest.raises(RtvpError) as caught:
        parse(content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channels_that_the_heads_do_not_divide_pass_without_interaction() -> None:
    assert DetectorConfig.model_validate({"channels": 90, "interaction": {"enabled": False}}).channels == 90


@pytest.mark.parametrize(
    "changes",
    [{"sizes": [100]}, {"sizes": []}, {"sizes": [0]}, {"sizes": "384"}, {"ema_decay": 1}, {"steps": 0}],
    ids=str,
)
def test_stages_check_their_values(changes: dict[str, object]) -> None:
    with pytest.raises(RtvpError, match=f"here.yaml: {next(iter(changes))}"):
        parse({"steps": 10} | changes, StageConfig)


@pytest.mark.parametrize("scale_range", [[1.4, 0.7], [0, 1], [-1, 1], [1]], ids=str)
def test_range_of_scales_is_two_rising_numbers(scale_range: list[float]) -> None:
    with pytest.raises(RtvpError, match=r"here.yaml: data.scale_range"):
        parse(TRAIN | {"data": {"sources": ["a"], "scale_range": scale_range}}, TrainConfig)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"cannot read the configuration .*absent\.yaml: No such file"):
        load_config(tmp_path / "absent.yaml", DetectorConfig)
    with pytest.raises(RtvpError, match="cannot read the configuration"):
        load_config(tmp_path, DetectorConfig)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RtvpError, match=r"binary\.yaml is not a YAML file"):
        load_config(tmp_path / "binary.yaml", DetectorConfig)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "\x00",
        "a: 2001-99-99",
        "a: " + "1" * 5000,
        "a: !!int abc",
        "a: !!int ''",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: !!python/object/apply:os.getcwd []",
        "[" * 3000,
        "a: &a [*a]",
    ],
    ids=lambda text: text[:20],
)
def test_ill_formed_yaml_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RtvpError, match=r"bad\.yaml") as caught:
        load_config(path, DetectorConfig)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60)
    | st.builds(
        yaml.safe_dump,
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["channels", "strides", "interaction", "heads"]), inner, max_size=3
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_any_text_is_a_configuration_or_an_error_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        config = load_config(path, DetectorConfig)
    except RtvpError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(config, DetectorConfig)
