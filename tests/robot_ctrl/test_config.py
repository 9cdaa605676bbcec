import pytest

from robot_ctrl.config import LearningConfig, check_config, merge, parse_overrides, read_yaml
from robot_ctrl.errors import ConfigError
from robot_ctrl.settings import check_settings, defaults_of


class Gadget:
    def __init__(self, owner: str, *, size: int = 3, speed: float = 0.5, sizes: tuple[int, ...] = (1, 2)) -> None:
        self.size = size


def test_overrides_build_a_tree_of_typed_values() -> None:
    tree = parse_overrides(["planner.horizon=20", "planner.noise.colour=2.5", "seed=3", "task.name=dmc:a-b"])
    assert tree == {
        "planner": {"horizon": 20, "noise": {"colour": 2.5}},
        "seed": 3,
        "task": {"name": "dmc:a-b"},
    }


@pytest.mark.parametrize("argument", ["planner.horizon", "=3", "seed=[1"])
def test_an_override_that_is_none_is_named(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"key=value|not YAML"):
        parse_overrides([argument])


def test_merging_keeps_what_is_not_overridden() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_every_finding_names_source_and_key() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"task": {"name": "x"}, "sed": 1, "episodes": 0, "learning": {"version": 3.0}}, "run.yaml")
    text = str(caught.value)
    assert "run.yaml: sed: unknown key" in text
    assert "run.yaml: episodes = 0" in text
    assert "run.yaml: learning.version = 3.0" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "fast", -1])
def test_numbers_that_cannot_be_used_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"robot\.max_velocity"):
        check_config({"task": {"name": "x"}, "robot": {"max_velocity": value}}, "run.yaml")


def test_versions_of_the_lecture_are_settings_of_one_loop() -> None:
    settings = {version: LearningConfig(version=version) for version in (0.5, 1.0, 1.5)}
    assert not settings[0.5].refit
    assert (settings[1.0].refit, settings[1.0].replan_every) == (True, 0)
    assert (settings[1.5].refit, settings[1.5].replan_every) == (True, 1)
    assert LearningConfig(version=1.0, replan_every=5).replan_every == 5


def test_a_yaml_file_that_is_none_is_named(tmp_path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1,")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        read_yaml(path)
    path.write_text("- 1\n- 2")
    with pytest.raises(ConfigError, match="mapping"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "missing.yaml")


def test_settings_come_from_the_constructor() -> None:
    assert defaults_of(Gadget) == {"size": 3, "speed": 0.5, "sizes": (1, 2)}
    assert check_settings(Gadget, {"sizes": [4, 5]}, "gadget") == {"size": 3, "speed": 0.5, "sizes": (4, 5)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sized": 1}, r"unknown key in gadget 'sized'. Did you mean 'size'\?"),
        ({"size": "big"}, "gadget.size = 'big'"),
        ({"speed": float("nan")}, "gadget.speed"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(Gadget, settings, "gadget")
