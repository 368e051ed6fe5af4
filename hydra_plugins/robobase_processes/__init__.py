"""`hydra/launcher=processes`: the jobs of a multirun as processes of their own; the default.

Hydra takes launchers only from below `hydra_plugins`; what it does is in `robobase.launcher`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class ProcessLauncherConf:
    """`n_jobs` run at the same time; -1: one per core, -2: one less."""

    _target_: str = "hydra_plugins.robobase_processes.ProcessLauncher"
    n_jobs: int = -1


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=ProcessLauncherConf)


class ProcessLauncher(Launcher):
    """Runs the program that was started once more for each job, as a run of its own.

    What a job's task function returns stays in its process: sweepers that optimise need another
    launcher.
    """

    def __init__(self, n_jobs: int = -1):
        self.n_jobs = n_jobs

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.hydra_context = config, hydra_context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        configs = [
            self._config_of(list(overrides), initial_job_idx + number)
            for number, overrides in enumerate(job_overrides)
        ]
        self.run(configs, job_overrides)
        returns = []
        for overrides, config in zip(job_overrides, configs, strict=True):
            returns.append(JobReturn(overrides, config, config.hydra, status=JobStatus.COMPLETED))
        return returns

    def run(self, configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]) -> None:
        """Run the jobs until all have ended."""
        from robobase import launcher

        launcher.launch(self.config, configs, overrides)

    def _config_of(self, overrides: list[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config
