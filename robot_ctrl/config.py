"""Run configuration: YAML and ``key=value`` overrides into checked settings.

Layers, each over the one before: defaults of the code, the task's defaults, the YAML file, the command line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from robot_ctrl.errors import ConfigError
from robot_ctrl.settings import explain

Tree = dict[str, Any]
_VERSIONS: dict[float, Tree] = {0.5: {"refit": False}, 1.0: {"replan_every": 0}, 1.5: {}}


class LearningConfig(BaseModel):
    """The model-based RL loop; ``version`` names the lecture's settings of it, single keys override them.

    0.5 collects random data, fits once and plans; 1.0 adds what was executed and refits after every episode, but
    follows each plan to its end; 1.5 replans at every step. ``refit_every`` refits within episodes, after so many
    steps; ``refit_every_episodes`` between them, after so many episodes. ``optimism`` lowers the cost of plans by
    so many standard deviations over the model's particles while the run learns, in place of the planner's risk
    measure. ``demonstrations`` names recorded episodes, or folders of them, that are copied into the run and learned
    from as well.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    version: float = Field(default=1.5, strict=True)
    base_policy: Literal["uniform", "coloured", "hold"] = "uniform"
    base_policy_colour: float = Field(default=2.0, ge=0, le=4)
    base_policy_gentle: float = Field(default=0.0, ge=0, le=1)
    random_episodes: int = Field(default=1, ge=1)
    refit: bool = True
    replan_every: int = Field(default=1, ge=0)
    refit_every: int = Field(default=0, ge=0)
    refit_every_episodes: int = Field(default=1, ge=1)
    optimism: float = Field(default=0.0, ge=0)
    show_episodes: int = Field(default=1, ge=0)
    demonstrations: tuple[Path, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        version = given.get("version")
        return _VERSIONS.get(version, {}) | given if isinstance(version, int | float) else given

    @field_validator("version")
    @classmethod
    def _known(cls, version: float) -> float:
        if version not in _VERSIONS:
            raise ValueError("the lecture's versions are 0.5, 1.0 and 1.5")
        return version


class RobotConfig(BaseModel):
    """How fast the robot may move, on top of the limits in its description; None adds no limit."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    max_velocity: float | None = Field(default=None, gt=0)
    max_acceleration: float | None = Field(default=None, gt=0)


class RunConfig(BaseModel):
    """Everything a run needs to be repeated.

    Attributes:
        seed: every random number of the run derives from it.
        episodes: episodes in all, the random ones included.
        env_steps: stop after the episode that reaches this many environment steps; None for no limit.
        run_dir: the run folder.
        overwrite: replace a run folder that exists.
        device: "cpu", "cuda" or "cuda:N".
        threads: threads for tensor work; "auto" chooses by the size of the planner's work.
        task: the task's name and its settings.
        model: settings of the dynamics model.
        planner: the planner's name, its horizon, the risk measure, and the planner's own settings.
        value: settings of the learned policy and its value, which suggest candidates and say what follows a plan; None
            for plans that end at their horizon.
        learning: the model-based RL loop.
        robot: limits on top of the robot's own.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    seed: int = Field(0, ge=0)
    episodes: int = Field(20, ge=1)
    env_steps: int | None = Field(None, ge=1)
    run_dir: Path = Path("runs/run")
    overwrite: bool = False
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    task: Tree
    model: Tree = Field(default_factory=dict)
    planner: Tree = Field(default_factory=dict)
    value: Tree | None = None
    learning: LearningConfig = Field(default_factory=lambda: LearningConfig())
    robot: RobotConfig = Field(default_factory=lambda: RobotConfig())


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """``over`` laid over ``base``, section by section."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def read_yaml(path: Path) -> Tree:
    """A YAML file whose top level is a mapping.

    Raises:
        ConfigError: if the file is missing, is not YAML or is not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: the top level must be a mapping of keys to values, not {type(tree).__name__}.")
    return tree


def parse_overrides(arguments: Sequence[str]) -> Tree:
    """``["planner.horizon=20", "seed=3"]`` as a tree; values are read as YAML.

    Raises:
        ConfigError: if an argument is not ``key=value``.
    """
    tree: Tree = {}
    for argument in arguments:
        key, separator, text = argument.partition("=")
        if not separator or not key:
            raise ConfigError(f"{argument!r}: give overrides as key=value, for example planner.horizon=20.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{argument!r}: the value is not YAML: {error}") from None
        *sections, last = key.split(".")
        leaf: Tree = {last: value}
        for section in reversed(sections):
            leaf = {section: leaf}
        tree = merge(tree, leaf)
    return tree


def check_config(tree: Mapping[str, Any], source: str) -> RunConfig:
    """The checked configuration.

    Raises:
        ConfigError: every finding on a line of its own, with the source, the key and what would be right.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        lines = explain(error, "").splitlines()
        known = ", ".join(RunConfig.model_fields)
        hint = f"\nThe keys of a run are: {known}." if "unknown key" in "".join(lines) else ""
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines) + hint) from None


def write_config(config: RunConfig, path: Path) -> None:
    """Write every setting, so that the file alone repeats the run."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
