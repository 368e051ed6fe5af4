"""`hydra/sweeper=search`: settings that Optuna chooses, in place of a grid.

Hydra takes sweepers only from below `hydra_plugins`; what it does is in `robobase.search`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from robobase import sweep, sweep_jobs


@dataclass
class SearchSweeperConf:
    """`n_trials` in all, restarts included; see `robobase.search.Search`."""

    _target_: str = "hydra_plugins.robobase_search.SearchSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    n_trials: int = 20
    n_startup_trials: int = 5
    prune: bool = True
    seed: int = 0


ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchSweeperConf)


class SearchSweeper(Sweeper):
    """Launches trials, as many at once as the launcher holds.

    Args:
        max_batch_size: left there where a config replaces `hydra/sweeper=grid`; without effect.
    """

    def __init__(
        self,
        params: DictConfig | None,
        n_trials: int,
        n_startup_trials: int,
        prune: bool,
        seed: int,
        max_batch_size: int | None = None,
    ):
        self._settings: dict[str, Any] = {
            "n_trials": n_trials,
            "n_startup_trials": n_startup_trials,
            "prune": prune,
            "seed": seed,
        }

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from robobase import search

        root = Path(self.config.hydra.sweep.dir)
        space = search.space(sweep.words(self.config))
        self.hydra_context.config_loader.load_sweep_config(self.config, space.example())
        found = search.Search(root, space, **self._settings)
        if found.is_finished():
            return
        OmegaConf.save(self.config, root / sweep_jobs.MULTIRUN)
        n_jobs = int(OmegaConf.select(self.config, "hydra.launcher.n_jobs", default=1))
        at_once = sweep.jobs_at_once(n_jobs, self._settings["n_trials"])
        found.run(lambda jobs: self.launcher.launch(jobs, initial_job_idx=0), at_once)
