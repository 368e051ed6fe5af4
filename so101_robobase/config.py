"""The lift task's settings: dataclasses with defaults, checked once, built from `cfg.env`.

The defaults here and those of `cfgs/env/so101_lift.yaml` and `cfgs/randomization/so101.yaml` are
the same numbers (a test compares).
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from so101_robobase.control import ControlConfig
from so101_robobase.sim.corruption import CorruptionConfig
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.sim.renderer import RENDERERS
from so101_robobase.sim.rewards import RAISED_HEIGHT, VERSIONS
from so101_robobase.sim.scene import SceneConfig
from so101_robobase.sim.sight import SightConfig

STAGES = {
    0: "ready pose above the table, cube anywhere in the box",
    1: "cube held at lift height",
    2: "cube held on the table",
    3: "gripper open 35 mm above the cube",
    4: "gripper open, 8 to 12 cm away from the cube",
}
"""Start states by stage, easiest 1, hardest 0."""

OBSERVATIONS = ("seg_depth", "seg", "rgb", "state")
JOINT_VELOCITIES = ("exact", "differences")
ON_SUCCESS = ("bootstrap", "terminate", "continue", "bonus")
STARTS = ("training", "demonstrations", "evaluation")

# Keys of `cfg.env` that the engine or the method reads, not the task.
_RUN_KEYS = ("env_name", "stddev_schedule", "num_classes", "channel_kinds", "eval_stage")


@dataclass(frozen=True)
class CubeBox:
    """Where stage 0 puts the cube, metres from the base; a top-down grasp reaches it all."""

    x: tuple[float, float] = (0.15, 0.33)
    y: tuple[float, float] = (-0.10, 0.10)

    def __post_init__(self) -> None:
        for axis in ("x", "y"):
            bounds = getattr(self, axis)
            if len(bounds) != 2 or not bounds[0] <= bounds[1]:
                raise UserError(f"cube_box.{axis}={bounds} must be [lower, upper] in metres")


@dataclass(frozen=True)
class LiftConfig:
    """One lift task. Lengths in metres, angles in radians, durations in control steps (20 ms).

    `on_success` says what reaching success does to the episode and so to the return:

    | value     | episode     | terminated | effect on the return                                 |
    |-----------|-------------|------------|------------------------------------------------------|
    | bootstrap | ends        | no         | ends as a truncation: the value goes on through it   |
    | terminate | ends        | yes        | nothing follows: hovering pays more than success     |
    | continue  | goes on     | no         | success pays at each step that it lasts              |
    | bonus     | ends        | yes        | adds what holding on for ever would pay              |

    Attributes:
        stage: a stage 0 to 4, or a mixture as {stage: weight}.
        place_target: [x, y] where v12 wants the cube put down; v12 only.
        discount: per policy step (as `replay.gamma`); only `on_success=bonus` uses it, below 1.
        randomization: how episodes differ in looks and physics; off by default.
        joint_velocity: "exact": the simulator's; "differences": of positions over a control step,
            as they are estimated on the robot.
        teacher: put the scripted pick's actions into the infos, for `method=dagger`.
        num_threads: of physics; 0 takes every core that this process may use. Results do not
            depend on it.
        starts: whose start states episodes have: those of "training", of "demonstrations" or of
            "evaluation"; no two have one in common. Training draws from a fixed number, the
            others have one of its own for every seed.
        start_seed: of these states; runs give theirs, evaluations are the same for all.
    """

    episode_length: int = 200
    action_repeat: int = 2
    observation: str = "seg_depth"
    image_size: int = 84
    renderer: str = "auto"
    joint_velocity: str = "exact"
    stage: Mapping[int, float] | int = 3
    reward_version: str = "v20"
    lift_height: float = 0.08
    hold_steps: int = 10
    on_success: str = "bonus"
    discount: float = 0.98
    place_target: tuple[float, float] | None = None
    cube_box: CubeBox = field(default_factory=CubeBox)
    cube_jitter: float = 0.02
    teacher: bool = False
    num_threads: int = 0
    starts: str = "training"
    start_seed: int = 1
    scene: SceneConfig = field(default_factory=SceneConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)
    sight: SightConfig = field(default_factory=SightConfig)

    def __post_init__(self) -> None:
        for name in ("episode_length", "action_repeat", "image_size", "hold_steps"):
            _check_whole(name, getattr(self, name), 1)
        _check_whole("num_threads", self.num_threads, 0)
        _check_whole("start_seed", self.start_seed, 0)
        _check_choice("starts", self.starts, STARTS)
        _check_choice("observation", self.observation, OBSERVATIONS)
        _check_choice("joint_velocity", self.joint_velocity, JOINT_VELOCITIES)
        _check_choice("on_success", self.on_success, ON_SUCCESS)
        _check_choice("renderer", self.renderer, RENDERERS)
        if self.reward_version not in VERSIONS:
            raise UserError(
                f"reward_version={self.reward_version!r} is unknown; known: v1 … v{len(VERSIONS)}"
            )
        if self.hold_steps > self.episode_length:
            raise UserError(
                f"hold_steps={self.hold_steps} exceeds episode_length={self.episode_length}; "
                "success would be impossible"
            )
        if not self.lift_height > RAISED_HEIGHT:
            raise UserError(f"lift_height={self.lift_height} must be above {RAISED_HEIGHT} m")
        if not 0 <= self.discount <= 1:
            raise UserError(f"discount={self.discount} must be between 0 and 1")
        if self.discount == 1 and self.on_success == "bonus":
            raise UserError("on_success=bonus pays for ever: it needs a discount below 1")
        if not self.cube_jitter >= 0:
            raise UserError(f"cube_jitter={self.cube_jitter} must be 0 or more (metres)")
        _stage_weights(self.stage)
        self._check_place_target()

    def _check_place_target(self) -> None:
        placing = self.reward_version == "v12"
        if placing != (self.place_target is not None):
            raise UserError(
                "reward_version='v12' needs place_target=[x, y]"
                if placing
                else f"place_target={self.place_target} is only for reward_version='v12'; "
                "set it to null"
            )

    @property
    def stage_weights(self) -> tuple[tuple[int, float], ...]:
        """Stages that occur with their probabilities, by rising stage."""
        return _stage_weights(self.stage)

    @property
    def pixels(self) -> bool:
        """Whether observations hold an image."""
        return self.observation != "state"

    @property
    def start_key(self) -> tuple[int, int]:
        """Tells the start states and random streams of this config from those of others."""
        return STARTS.index(self.starts), self.start_seed

    @classmethod
    def from_cfg(cls, cfg: DictConfig, evaluation: bool = False) -> "LiftConfig":
        """The task of a composed run config: `cfg.env` plus the top-level keys it depends on.

        `cfg.action_repeat` and `cfg.replay.gamma` are taken over, `cfg.num_threads` too where
        `env.num_threads` is 0, and `pixels=false` selects the state observation whatever
        `env.observation` says. With `evaluation`, episodes start from `env.eval_stage` if set, in
        start states of their own; else `cfg.seed` is theirs.

        Raises:
            UserError: a key is unknown or a value is not allowed.
        """
        env = OmegaConf.to_container(cfg.env, resolve=True)
        assert isinstance(env, dict)
        values = {str(key): value for key, value in env.items() if key not in _RUN_KEYS}
        if evaluation:
            values |= {"teacher": False, "starts": "evaluation"}
        else:
            values["start_seed"] = cfg.get("seed", cls.start_seed)
        if evaluation and env.get("eval_stage") is not None:
            values["stage"] = env["eval_stage"]
        values["action_repeat"] = cfg.get("action_repeat", 1)
        values["discount"] = OmegaConf.select(cfg, "replay.gamma", default=cls.discount)
        values["num_threads"] = values.get("num_threads") or cfg.get("num_threads") or 0
        if not cfg.get("pixels", True):
            values["observation"] = "state"
        return from_mapping(cls, values, "env")


def from_mapping(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """Build dataclass `cls` from plain containers, nested dataclasses and tuples included.

    Raises UserError naming `where.key` for unknown and missing keys and values of the wrong kind;
    where `where` is empty, the key alone.
    """
    known = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            raise UserError(f"{prefix}{key} is unknown{hint}")
    for key in _required(cls):
        if key not in values:
            raise UserError(f"{prefix}{key} is missing")
    return cls(
        **{key: _convert(known[key], value, f"{prefix}{key}") for key, value in values.items()}
    )


def _required(cls: type) -> list[str]:
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is missing and field.default_factory is missing
    ]


def _convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; whole numbers pass as floats, lists as tuples."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}={value!r} must be a group of keys")
        return from_mapping(typing.cast(type, kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin in (tuple, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{where}={value!r} must be a list")
        items = tuple(value)
        if origin is Sequence:
            arguments *= len(items)
        if len(items) != len(arguments):
            raise UserError(f"{where}={value!r} must have {len(arguments)} entries")
        return tuple(_convert(arguments[i], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is not None:  # Mapping[...]
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise UserError(f"{where}={value!r} must be of type {kind.__name__}")


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _convert(kinds[0], value, where)
    return value  # `stage` and `corruption.blobs`, which check themselves


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value!r} must be a whole number of at least {least}")


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}={value!r} is unknown; known: {', '.join(allowed)}")


def _stage_weights(stage: Any) -> tuple[tuple[int, float], ...]:
    """(stage, probability) by rising stage, from one stage or a mixture."""
    mixture = stage if isinstance(stage, Mapping) else {stage: 1.0}
    weights = {}
    for key, weight in mixture.items():
        number = int(key) if isinstance(key, str) and key.isdigit() else key
        if isinstance(number, bool) or number not in STAGES:
            raise UserError(f"stage={key!r} is unknown; known: {', '.join(map(str, STAGES))}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
            raise UserError(f"stage {number} has weight {weight!r}; it must be 0 or more")
        weights[number] = float(weight)
    total = sum(weights.values())
    if not total > 0:
        raise UserError(f"stage={stage!r} needs at least one stage with a weight above 0")
    return tuple((n, weights[n] / total) for n in sorted(weights) if weights[n] > 0)
