"""What an environment says of its settings, before anything heavy is imported or built."""

from collections.abc import Mapping

from hydra.utils import get_class
from omegaconf import DictConfig

from robobase.errors import UserError, first_line
from robobase.settings.footprint import TaskMemory
from robobase.settings.setting import Setting


class TaskSettings:
    """The settings of one environment; `cfg.env_settings` names the class.

    It lives in a module that imports no torch, so that a mistake is told at once.
    """

    def settings(self) -> Mapping[str, Setting]:
        """Those of `cfg.env` by full key, and the engine's where they mean something else."""
        return {}

    def check(self, cfg: DictConfig) -> None:
        """Raise UserError for settings that contradict each other."""

    def memory(self, cfg: DictConfig) -> TaskMemory | None:
        """What one environment takes; None: unknown."""
        return None


def task_settings(cfg: DictConfig) -> TaskSettings | None:
    """What `cfg.env_settings` names, or None. Raises UserError where it cannot be imported."""
    name = cfg.get("env_settings")
    if not name:
        return None
    try:
        return get_class(name)()
    except Exception as error:
        raise UserError(f"env_settings={name} cannot be imported: {first_line(error)}") from error
