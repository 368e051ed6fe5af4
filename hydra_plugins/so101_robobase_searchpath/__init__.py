"""Makes this project's configs visible to every Hydra application, `python -m robobase.train` too.

They are the folder `cfgs/`, and the settings of each task as its dataclass has them: the config
`/task/<name>`, which `cfgs/env/` puts at `env`. A setting and its default are written down once.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

import so101_robobase

GROUP = "task"


class SO101SearchPath(SearchPathPlugin):
    """Puts this project's configs before the engine's, so they can refine its groups."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        package = Path(so101_robobase.__file__).parent
        installed = package / "cfgs"  # in a wheel; a checkout has it beside the package
        folder = installed if installed.is_dir() else package.parent / "cfgs"
        search_path.prepend(provider="so101_robobase", path="tasks://")
        search_path.prepend(provider="so101_robobase", path=f"file://{folder}")


class TaskSource(ConfigSource):
    """The group `task`, made from dataclasses when it is asked for."""

    @staticmethod
    def scheme() -> str:
        return "tasks"

    def load_config(self, config_path: str) -> ConfigResult:
        from so101_robobase.tasks.entry import entry
        from so101_robobase.tasks.settings import defaults

        name = config_path.removeprefix(f"{GROUP}/").removesuffix(".yaml")
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(defaults(entry(name).config)),
            header={"package": None},
        )

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        if not config_path.startswith(f"{GROUP}/"):
            return False
        return config_path.removeprefix(f"{GROUP}/").removesuffix(".yaml") in _tasks()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        where = config_path.strip("/")
        if where == GROUP and results_filter != ObjectType.GROUP:
            return _tasks()
        return [GROUP] if where == "" and results_filter != ObjectType.CONFIG else []


def _tasks() -> list[str]:
    from so101_robobase.tasks import names

    return names()
