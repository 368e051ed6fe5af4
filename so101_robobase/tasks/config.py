"""The settings of every task: a dataclass with defaults, checked once, built from `cfg.env`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from robobase.settings.fields import check_fields
from robobase.settings.kinds import Choice, Items, Number, OrNull, Range, Schedule, Whole
from robobase.settings.setting import Need, Setting, given, never
from so101_robobase.arm.control import ControlConfig
from so101_robobase.arm.model import SO101
from so101_robobase.base.settings import from_mapping
from so101_robobase.sim.corruption import CorruptionConfig
from so101_robobase.sim.looks import SEEING
from so101_robobase.sim.marks import Mark
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.sim.renderer import RENDERERS
from so101_robobase.sim.scene import Scene, SceneConfig, build_scene
from so101_robobase.sim.sight import SightConfig
from so101_robobase.vision.kinds import KINDS
from so101_robobase.vision.observation import CLASSES

JOINT_VELOCITIES = ("exact", "differences")
_KINDS = OrNull(Items(Choice("ids", "value"), 1, 16))
ON_SUCCESS = ("bootstrap", "terminate", "continue", "bonus")
STARTS = ("training", "demonstrations", "evaluation")

REACH = SO101.reach

# Keys of `cfg.env` that the engine or the method reads, not the task.
RUN_KEYS = {
    "stddev_schedule": Setting(Schedule(0, 10), never("the method has no such noise")),
    **{f"channel_kinds.{name}": Setting(_KINDS) for name in KINDS},
}


class Stages:
    """A stage of a task, by its number in `known`, or a mixture of stages by weight."""

    def __init__(self, known: Mapping[int, str]):
        self.known = known

    def __call__(self, value: Any) -> Any:
        for number, _ in stage_weights(value):
            if number not in self.known:
                raise UserError(
                    f"stage={number!r} is unknown; known: {', '.join(map(str, self.known))}"
                )
        return value

    def __str__(self) -> str:
        known = ", ".join(map(str, self.known))
        return (
            f"a stage ({known}), or a mixture such as {{0: 0.6, 3: 0.4}} with weights of 0 or more"
        )


def starts_in(which: str, holds: Callable[[Any], bool]) -> Need:
    """Read where training or evaluation starts in a stage for which `holds`, of their numbers."""

    def starts(*mixtures: Any) -> bool:
        return any(
            holds([number for number, _ in stage_weights(mixture)])
            for mixture in mixtures
            if mixture is not None
        )

    return Need(f"starts in stage {which}", ("env.stage", "env.eval_stage"), starts)


_PICTURES = Need(
    "pixels on",
    ("pixels", "env.observation"),
    lambda pixels, observation: bool(pixels) or observation == "state",
)
_NOT_THE_TASKS = {
    *(key.partition(".")[0] for key in RUN_KEYS),
    *("env_name", "num_classes", "eval_stage", "mixture"),
}


@dataclass(frozen=True)
class CubeBox:
    """Where stage 0 puts the cube, metres from the base; a top-down grasp reaches it all.

    Attributes:
        x: forward.
        y: to the left.
    """

    NEEDS: ClassVar[tuple[Need, ...]] = (starts_in("0", lambda stages: 0 in stages),)
    group: ClassVar = "cube_box"

    x: Annotated[tuple[float, float], Range(Number(-REACH, REACH))] = (0.15, 0.33)
    y: Annotated[tuple[float, float], Range(Number(-REACH, REACH))] = (-0.10, 0.10)

    def __post_init__(self) -> None:
        check_fields(self, self.group)
        corners = [(x, y) for x in self.x for y in self.y]
        x, y = max(corners, key=lambda corner: math.hypot(*corner))
        if math.hypot(x, y) > REACH:
            raise UserError(
                f"{self.group}.x={list(self.x)}, y={list(self.y)} goes {math.hypot(x, y):.2f} m "
                f"from the base, and the arm {REACH} m; make the box smaller"
            )


@dataclass(frozen=True)
class TaskConfig:
    """What every task has: an arm, a table with a cube, episodes.

    Lengths in metres, angles in radians, durations in control steps (20 ms).

    `on_success` says what reaching success does to the episode and so to the return:

    | value     | episode     | terminated | effect on the return                                 |
    |-----------|-------------|------------|------------------------------------------------------|
    | bootstrap | ends        | no         | as a truncation: bootstrapped, but not learnt there  |
    | terminate | ends        | yes        | nothing follows: hovering pays more than success     |
    | continue  | goes on     | no         | success pays at each step that it lasts              |
    | bonus     | ends        | yes        | pays at once what holding on for ever would have     |

    Attributes:
        episode_length: control steps at most; 50 are 1 s.
        observation: what the policy sees: class ids and disparity, ids alone, colours, or no
            picture but 21 numbers with the cube's position.
        image_size: pixels, width and height of the policy's picture.
        renderer: OpenGL ("gl"), rays, or "auto": OpenGL, and rays where it does not start.
        stage: where episodes start, or a mixture as {stage: weight}.
        reward_version: what a step pays.
        hold_steps: consecutive control steps in which the goal is met that count as success; 150
            are 3 s.
        on_success: what success does to the episode, as above.
        cube_jitter: stages 1 to 4: how far the cube lies from (0.25, 0) at most, in x and in y.
        discount: per policy step (as `replay.gamma`); only `on_success=bonus` uses it, below 1.
        randomization: how episodes differ in looks and physics; off by default.
        joint_velocity: "exact": the simulator's; "differences": of positions over a control step,
            as they are estimated on the robot.
        teacher: put the scripted expert's actions into the infos, for `method=dagger`.
        num_threads: of physics; 0: as the run's `num_threads`, where that is 0 too every core that
            this process may use. Results do not depend on it.
        starts: whose start states episodes have: those of "training", of "demonstrations" or of
            "evaluation"; no two have one in common. Training draws from a fixed number, the
            others have one of its own for every seed.
        start_seed: of these states; runs give theirs, evaluations are the same for all.
    """

    name: ClassVar[str]
    """Of the folder in `tasks`."""

    INSTRUCTION: ClassVar[str]
    """What is to be done, in words, as recordings tell it."""

    STAGES: ClassVar[Mapping[int, str]]
    """Start states by number."""

    MIXTURE: ClassVar[Mapping[int, float]]
    """Stages by weight from which the whole task is learnt."""

    REWARDS: ClassVar[Mapping[str, Any]]
    """Reward versions by name."""

    marks: ClassVar[tuple[Mark, ...]] = ()
    """Squares on the table that belong to the task."""

    episode_length: Annotated[int, Whole(1, 100_000)] = 200
    action_repeat: Annotated[int, Whole(1, 100)] = 2
    observation: Annotated[str, Choice(*KINDS), _PICTURES] = "seg_depth"
    image_size: Annotated[int, Whole(1, 1024), SEEING] = 84
    renderer: Annotated[str, Choice(*RENDERERS), SEEING] = "auto"
    joint_velocity: Annotated[str, Choice(*JOINT_VELOCITIES)] = "exact"
    stage: Mapping[int, float] | int = 0
    reward_version: str = ""
    hold_steps: Annotated[int, Whole(1, 100_000)] = 10
    on_success: Annotated[str, Choice(*ON_SUCCESS)] = "bonus"
    discount: Annotated[float, Number(0, 1)] = 0.98
    cube_box: CubeBox = field(default_factory=CubeBox)
    cube_jitter: Annotated[float, Number(0, 0.1), starts_in("1 to 4", any)] = 0.02
    teacher: Annotated[bool, given("method.teacher_share")] = False
    num_threads: Annotated[int, Whole(0, 1024)] = 0
    starts: Annotated[str, Choice(*STARTS)] = "training"
    start_seed: Annotated[int, Whole(0, 2**63)] = 1
    scene: SceneConfig = field(default_factory=SceneConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)
    sight: SightConfig = field(default_factory=SightConfig)

    def __post_init__(self) -> None:
        check_fields(self, "")
        if self.hold_steps > self.episode_length:
            raise UserError(
                f"hold_steps={self.hold_steps} exceeds episode_length={self.episode_length}; "
                "success would be impossible"
            )
        if self.discount == 1 and self.on_success == "bonus":
            raise UserError("on_success=bonus pays for ever: it needs a discount below 1")
        self._check_cube()

    def _check_cube(self) -> None:
        """A size or mass that the scene names, and the ranges that replace it."""
        physical, scene = self.randomization.physical, self.scene
        edge = scene.cube_half_size != SceneConfig.cube_half_size and 2 * scene.cube_half_size
        mass = scene.cube_mass != SceneConfig.cube_mass and scene.cube_mass
        for what, size, name in (("edges", edge, "cube_edge"), ("a mass", mass, "cube_mass")):
            bounds = getattr(physical, name)
            if not physical.enabled or bounds is None or not size:
                continue
            if not bounds[0] <= size <= bounds[1]:
                raise UserError(
                    f"env.scene gives the cube {what} of {size:g}, but episodes get "
                    f"env.randomization.physical.{name}={list(bounds)}; set that to null for the "
                    f"scene's, or to a range about {size:g}"
                )

    @property
    def stage_weights(self) -> tuple[tuple[int, float], ...]:
        """Stages that occur with their probabilities, by rising stage."""
        return stage_weights(self.stage)

    @property
    def carry_height(self) -> float:
        """How high the cube's centre is where it is held up, m."""
        return 0.08

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the class ids of its pictures mean."""
        return (*CLASSES, *(mark.name for mark in self.marks))

    def build_scene(self) -> Scene:
        """The scene of its episodes; see `sim.scene.build_scene`."""
        return build_scene(self.scene, self.marks)

    @property
    def pixels(self) -> bool:
        """Whether observations hold an image."""
        return KINDS[self.observation].channels > 0

    @property
    def start_key(self) -> tuple[int, int]:
        """Tells the start states and random streams of this config from those of others."""
        return STARTS.index(self.starts), self.start_seed

    @classmethod
    def from_cfg(cls, cfg: DictConfig, evaluation: bool = False) -> Self:
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
        values = {str(key): value for key, value in env.items() if key not in _NOT_THE_TASKS}
        if values.get("place_target", 0) is None:  # the lift had it, and hardly ever a value
            del values["place_target"]
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


def stage_weights(stage: Any) -> tuple[tuple[int, float], ...]:
    """(stage, probability) by rising stage, from one stage or a mixture."""
    mixture = stage if isinstance(stage, Mapping) else {stage: 1.0}
    weights = {}
    for key, weight in mixture.items():
        number = int(key) if isinstance(key, str) and key.isdigit() else key
        if isinstance(number, bool) or not isinstance(number, int):
            raise UserError(f"stage={key!r} must be a number, or numbers with their weights")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
            raise UserError(f"stage {number} has weight {weight!r}; it must be 0 or more")
        weights[number] = float(weight)
    total = sum(weights.values())
    if not total > 0:
        raise UserError(f"stage={stage!r} needs at least one stage with a weight above 0")
    return tuple((n, weights[n] / total) for n in sorted(weights) if weights[n] > 0)
