"""`hydra/sweeper=grid`: Hydra's own sweeper, which goes on with a sweep that is there; the default.

Hydra takes sweepers only from below `hydra_plugins`; what is left to do is found in
`robobase.sweep_jobs`.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from robobase import sweep, sweep_jobs
from robobase.command_line import hydra_value
from robobase.sweep_jobs import Job, Plan, Words

_BY_NUMBER = "${hydra.job.num}"  # `hydra.sweep.subdir` as it is by default


# No dataclass: a config of the group `sweep` may choose another sweeper, with keys of its own.
CONF = {
    "_target_": "hydra_plugins.robobase_grid.GridSweeper",
    "max_batch_size": None,
    "params": None,  # further keys to sweep over, each with its values; the command line's win
}
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=CONF)


class GridSweeper(BasicSweeper):
    """Launches what of the grid is neither finished nor run by somebody else.

    Works with every launcher: a job is told its folder (`hydra.sweep.subdir`), and where it was
    interrupted what to resume from.
    """

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        assert self.launcher is not None
        root = Path(self.config.hydra.sweep.dir)
        queued = getattr(self.launcher, "queued", None)  # of a launcher whose jobs outlive it
        there = queued(root) if queued is not None else ()
        plan = sweep_jobs.plan(root, sweep.grid(self.config, self._loader), there)
        sweep.tell(plan, root)
        jobs = self._jobs(root, plan)
        if not jobs:
            return self.launcher.launch([], initial_job_idx=0) if plan.queued else []
        for job in plan.begun:
            sweep_jobs.begin_anew(root / job.folder)
        OmegaConf.save(self.config, root / sweep_jobs.MULTIRUN)
        sweep_jobs.write_index(root, [job for job, _ in jobs])
        sweep.announce(self.config, len(jobs))
        returns: list[Any] = []
        started = 0
        words = [list(words) for _, words in jobs]
        for batch in self.split_overrides_to_chunks(words, self.max_batch_size):
            returns.append(self.launcher.launch(batch, initial_job_idx=started))
            started += len(batch)
        sweep_jobs.write_index(root)
        for job in itertools.chain.from_iterable(returns):
            _ = job.return_value  # raises what a launcher keeps there of a job that failed
        return returns

    def _jobs(self, root: Path, plan: Plan) -> list[tuple[Job, Words]]:
        """Each job that is to be launched and its overrides; composed once, to see that it can be.

        Raises:
            HydraException, OmegaConfBaseException: one cannot be composed.
        """
        assert self.config is not None
        known = [*plan.resumed, *plan.begun, *plan.waiting]
        jobs = []
        for job in sorted(known, key=lambda job: sweep_jobs.naturally(job.folder)):
            words = [*job.overrides, f"hydra.sweep.subdir={hydra_value(job.folder)}"]
            if job in plan.resumed:
                words.append(f"resume_from={hydra_value(str(root / job.folder))}")
            self._composed(words)
            jobs.append((job, tuple(words)))
        template = self.config.hydra.sweep._get_node("subdir")._value()
        for number, new in zip(sweep_jobs.next_numbers(root), plan.new, strict=False):
            words = [*new, *([f"hydra.sweep.subdir={number}"] if template == _BY_NUMBER else [])]
            config = self._composed(words)
            with open_dict(config):
                config.hydra.job.num = config.hydra.job.id = number
            jobs.append((Job(str(config.hydra.sweep.subdir), new), tuple(words)))
        return jobs

    def _composed(self, words: Sequence[str]) -> DictConfig:
        return self._loader.load_sweep_config(self.config, list(words))

    @property
    def _loader(self) -> ConfigLoader:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader
