"""Makes `cfgs/` visible to every Hydra application, so `python -m robobase.train` finds it."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

import so101_robobase


class SO101SearchPath(SearchPathPlugin):
    """Puts this project's configs before the engine's, so they can refine its groups."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        package = Path(so101_robobase.__file__).parent
        installed = package / "cfgs"  # in a wheel; a checkout has it beside the package
        folder = installed if installed.is_dir() else package.parent / "cfgs"
        search_path.prepend(provider="so101_robobase", path=f"file://{folder}")
