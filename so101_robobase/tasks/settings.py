"""What a task says of the settings of a run, before anything heavy is built."""

from collections.abc import Mapping
from typing import Any, ClassVar

from omegaconf import DictConfig

from robobase.errors import UserError
from robobase.settings.fields import declared_fields
from robobase.settings.footprint import TaskMemory
from robobase.settings.kinds import Choice, Flag, Number, OrNull
from robobase.settings.method_settings import PARTS
from robobase.settings.run_settings import RUN
from robobase.settings.setting import Need, Setting, never
from robobase.settings.task import TaskSettings
from so101_robobase.arm.model import describe
from so101_robobase.base.settings import plain
from so101_robobase.tasks.config import RUN_KEYS, Stages, TaskConfig
from so101_robobase.vision.kinds import KINDS
from so101_robobase.vision.observation import proprioception_names

SIMULATION = 3 * 2**19
"""Bytes of one simulation, 1.0 to 1.4 MiB as measured with 200 of them."""

_ELSEWHERE = ("action_repeat", "discount", "starts", "start_seed")  # the run says them
_ONE_CAMERA = never("the arm has one camera, which needs no fusion")
_FALSE = Choice(False)


class ArmTaskSettings(TaskSettings):
    """What `cfg.env` may hold, from the task's dataclasses, and what of the engine's differs.

    A task has its own in its folder, with its `config`; `cfg.env_settings` names it.
    """

    config: ClassVar[type[TaskConfig]]

    def settings(self) -> Mapping[str, Setting]:
        return settings_of(self.config)

    def check(self, cfg: DictConfig) -> None:
        config = self.config.from_cfg(cfg)
        self.config.from_cfg(cfg, evaluation=True)
        taught = "teacher_share" in cfg.method
        if taught and not config.teacher:
            raise UserError(
                "env.teacher=false leaves the method without a teacher to imitate; set "
                "env.teacher=true"
            )
        if cfg.demos != 0 and not 0 < cfg.demos < float("inf"):
            raise UserError(
                f"demos={cfg.demos} asks for all, but the scripted expert never ends; give a number"
            )

    def memory(self, cfg: DictConfig) -> TaskMemory:
        config = self.config.from_cfg(cfg)
        frame = KINDS[config.observation].channels * config.image_size**2
        numbers = len(proprioception_names(describe(config.scene.arm))) + 3
        return TaskMemory(SIMULATION, frame + 4 * numbers)


def defaults(config: type[TaskConfig]) -> dict[str, Any]:
    """What `cfg.env` holds of the task before a preset or a user changes it, as plain values."""
    values = {key: value for key, value in plain(config()).items() if key not in _ELSEWHERE}
    run = {
        "env_name": f"so101_{config.name}",
        "eval_stage": None,
        "mixture": dict(config.MIXTURE),
        "num_classes": len(config().class_names),
        "channel_kinds": {name: plain(kind.channel_kinds) for name, kind in KINDS.items()},
    }
    return run | values


def settings_of(config: type[TaskConfig]) -> Mapping[str, Setting]:
    """The settings of a run of the task, by full key."""
    known = declared_fields(config, "env")
    for key in _ELSEWHERE:
        del known[f"env.{key}"]
    stages = Stages(config.STAGES)
    own = {
        "env_name": Setting(Choice(f"so101_{config.name}")),
        "num_classes": Setting(Choice(len(config().class_names))),
        "eval_stage": Setting(OrNull(stages), *RUN["num_eval_episodes"].needs),
        "mixture": Setting(stages, _MIXED),
    }
    return known | {f"env.{key}": item for key, item in (RUN_KEYS | own).items()} | _ENGINES


_MIXED = Need(
    "a preset that starts from it, such as launch=teacher",
    ("env.stage", "env.mixture"),
    lambda stage, mixture: stage == mixture,
)
_BONUS = Need(
    "reinforcement learning, or env.on_success=bonus",
    ("method.is_rl", "env.on_success"),
    lambda is_rl, on_success: bool(is_rl) or on_success == "bonus",
)

_ENGINES = {
    "replay.gamma": Setting(Number(0, 1), _BONUS),
    "pixels": Setting(
        Flag(),
        Need("another env.observation", ("env.observation",), lambda seen: seen != "state"),
    ),
    "visual_observation_shape": Setting(
        RUN["visual_observation_shape"].kind, never("env.image_size is the size of pictures")
    ),
    "use_standardization": Setting(_FALSE),
    "use_min_max_normalization": Setting(_FALSE),
    "norm_obs": Setting(_FALSE),
    "method.view_fusion_lr": PARTS["method"]["view_fusion_lr"].and_needs(_ONE_CAMERA),
    "method.view_fusion_model.mode": PARTS["method.view_fusion_model"]["mode"].and_needs(
        _ONE_CAMERA
    ),
}
