"""`hydra/launcher=submitit_slurm` and `=ray`: the jobs of a multirun on a cluster.

Hydra takes launchers only from below `hydra_plugins`; what they do is in `robobase.slurm` and
`robobase.ray_cluster`. They take the places of the configs of these names of
hydra-submitit-launcher and hydra-ray-launcher (docs/cluster.md says why).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.robobase_processes import ProcessLauncher


@dataclass
class SlurmLauncherConf:
    """What each job asks Slurm for; null leaves it to the cluster's own default."""

    _target_: str = "hydra_plugins.robobase_cluster.SlurmLauncher"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    timeout_min: int = 240
    cpus_per_task: int = 2
    mem_gb: float = 8
    gpus_per_node: int | None = None
    name: str = "${experiment_name}"
    signal_delay_s: int = 120  # a job is warned so long before its time limit, and saves
    max_num_timeout: int = 20  # how often it is put back into the queue then
    setup: list[str] | None = None  # lines of shell before each job, as "module load cuda"
    srun_args: list[str] | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # other options of sbatch
    stderr_to_stdout: bool = True
    poll_seconds: float = 10.0  # between two looks at the queue
    n_jobs: int = 16  # trials of a search at a time; a grid is submitted whole


@dataclass
class RayLauncherConf:
    """What each job asks the Ray cluster for."""

    _target_: str = "hydra_plugins.robobase_cluster.RayLauncher"
    address: str | None = "auto"  # of its head; auto: RAY_ADDRESS, or the one of this machine
    num_cpus: int = 2
    num_gpus: float = 0
    max_retries: int = 20  # how often a job whose machine was lost is started again
    n_jobs: int = 16  # trials of a search at a time; of a grid as many as the cluster holds


class ClusterConfigs(SearchPathPlugin):
    """Stores the configs when all plugins are known: the last one of a name is what Hydra takes."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Leaves the path as it is."""
        store = ConfigStore.instance().store
        store(group="hydra/launcher", name="submitit_slurm", node=SlurmLauncherConf)
        store(group="hydra/launcher", name="ray", node=RayLauncherConf)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key, value in settings.items()
    }


class SlurmLauncher(ProcessLauncher):
    """Submits the jobs and waits for them; settings are those of `SlurmLauncherConf`."""

    def __init__(self, **settings: Any):
        self._settings = _plain(settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from robobase import slurm

        slurm.require(self._settings)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def queued(self, root: Path) -> frozenset[str]:
        """Folders, within the sweep's, of the jobs that wait or run."""
        from robobase import slurm

        return slurm.queued(root)

    def run(self, configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]) -> None:
        """Submit the jobs and wait until all have ended."""
        from robobase import slurm

        slurm.launch(self.config, configs, overrides, self._settings)


class RayLauncher(ProcessLauncher):
    """Runs the jobs as Ray's tasks; settings are those of `RayLauncherConf`."""

    def __init__(self, **settings: Any):
        self._settings = _plain(settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from robobase import ray_cluster

        ray_cluster.require()
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def run(self, configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]) -> None:
        """Run the jobs until all have ended."""
        from robobase import ray_cluster

        ray_cluster.launch(self.config, configs, overrides, self._settings)
