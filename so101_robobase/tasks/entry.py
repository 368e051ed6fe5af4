"""Finds a task by its name: the folder `tasks/<name>`, whose `entry.py` holds an `ENTRY`."""

import importlib
from dataclasses import dataclass

from omegaconf import DictConfig

from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from robobase.settings.kinds import close_to
from so101_robobase.tasks import names
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.task import Task
from so101_robobase.tasks.teacher import Teacher

_PREFIX = "so101_"  # `env.env_name` is this and the folder's name


@dataclass(frozen=True)
class TaskEntry:
    """The classes that make up one task.

    Attributes:
        config: its settings.
        task: its episodes: where they begin, when they succeed, what they pay.
        teacher: the expert, for demonstrations and `method=dagger`.
    """

    config: type[TaskConfig]
    task: type[Task]
    teacher: type[Teacher]


class TaskFactory(EnvFactory):
    """An `EnvFactory` whose environments play a task of this package."""


def entry(name: str) -> TaskEntry:
    """The task `name`, as in `names()`. Raises UserError if there is none."""
    if name not in names():
        hint = close_to(name, names()) or f"; known: {', '.join(names())}"
        raise UserError(f"task {name!r} is unknown{hint}")
    return importlib.import_module(f"so101_robobase.tasks.{name}.entry").ENTRY


def config_class(cfg: DictConfig) -> type[TaskConfig]:
    """The settings that `cfg.env.env_name` asks for. Raises UserError if there is no such task."""
    return entry(str(cfg.env.get("env_name")).removeprefix(_PREFIX)).config


def config_of(cfg: DictConfig, evaluation: bool = False) -> TaskConfig:
    """The task of a composed run config; see `TaskConfig.from_cfg`."""
    return config_class(cfg).from_cfg(cfg, evaluation)


def make_task(config: TaskConfig, num_envs: int, num_threads: int | None = None) -> Task:
    """`num_envs` episodes of the task that `config` belongs to."""
    return entry(config.name).task(config, num_envs, num_threads)


def make_teacher(task: Task) -> Teacher:
    """The expert that follows the episodes of `task`."""
    return entry(task.config.name).teacher(task)
