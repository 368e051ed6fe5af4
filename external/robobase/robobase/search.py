"""A search for good settings with Optuna: which trial comes next, and what became of the others.

The study is `study.db` (SQLite) in the sweep folder and survives restarts. A trial is a job in the
folder of its number; `robobase.trial` is its side of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from robobase import run_record, run_snapshot, sweep_jobs
from robobase.command_line import hydra_value
from robobase.errors import UserError
from robobase.run_record import Status
from robobase.signals import PRUNED
from robobase.sweep_jobs import Job, Words
from robobase.trial import FILE, PRUNING, open_study, optuna

_OTHER = "hydra.sweep.dir=... begins a new one"

Launch = Callable[[Sequence[Sequence[str]]], object]


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        fixed: overrides that all trials have.
        varied: Optuna's distributions by key.
    """

    fixed: Words
    varied: dict[str, Any]

    def example(self) -> list[str]:
        """The overrides of some trial."""
        first = {key: _first(distribution) for key, distribution in self.varied.items()}
        return [*self.fixed, *_words(first)]


def space(words: list[str]) -> Space:
    """Of a command line: `a,b`, `interval(0,1)`, `tag(log,interval(1,9))`, `int(interval(1,9))`.

    Raises:
        UserError: nothing varies.
    """
    parsed = {
        word.get_key_element(): word for word in OverridesParser.create().parse_overrides(words)
    }
    varied = {key: _distribution(word) for key, word in parsed.items() if word.is_sweep_override()}
    if not varied:
        raise UserError(
            "there is nothing to search: give a setting as key=a,b or 'key=interval(0.1,0.9)'"
        )
    fixed = (f"{k}={w.get_value_element_as_str()}" for k, w in parsed.items() if k not in varied)
    return Space(tuple(fixed), varied)


def _distribution(word: Override) -> Any:
    value, kinds = word.value(), optuna().distributions
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return kinds.IntDistribution(value.start, value.end, log=log)
        return kinds.FloatDistribution(value.start, value.end, log=log)
    return kinds.CategoricalDistribution(list(word.sweep_string_iterator()))


def _first(distribution: Any) -> Any:
    return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


class Search:
    """Runs trials until there are `n_trials`, those of earlier calls included.

    Args:
        root: the sweep folder.
        n_startup_trials: drawn at random before the sampler (TPE) learns from them and trials are
            compared.
        prune: end a run whose success is below the median of the others at its env steps.
        seed: of the sampler.
    """

    def __init__(
        self, root: Path, space: Space, n_trials: int, n_startup_trials: int, prune: bool, seed: int
    ):
        self._root, self._space, self._n_trials = root, space, n_trials
        self._study = open_study(root / FILE, begin=True)
        self._settle()
        done = len(self._study.trials)  # with the seed alone the same would be drawn again
        self._study.sampler = optuna().samplers.TPESampler(
            seed=seed + done, n_startup_trials=n_startup_trials, constant_liar=True
        )
        self._pruning_after = n_startup_trials if prune else None

    def run(self, launch: Launch, at_once: int) -> None:
        """Launch what is left, some at a time.

        Raises:
            UserError: all trials of a batch failed.
        """
        if self._study.trials:
            print(f"going on with the search in {self._root}: {self}; {_OTHER}", flush=True)
        self._study.set_user_attr(PRUNING, self._pruning_after)
        while batch := self._next(at_once):
            jobs = [Job(str(trial.number), self._overrides(trial)) for trial in batch]
            sweep_jobs.write_index(self._root, jobs)
            launch([self._launched(job) for job in jobs])
            self._settle()
            sweep_jobs.write_index(self._root)
            print(f"search in {self._root}: {self}", flush=True)
            if all(self._state(trial.number) == "FAIL" for trial in batch):
                raise UserError(
                    f"all trials of a batch failed ({len(batch)} of them); their reasons are in "
                    f"{self._root / sweep_jobs.INDEX}"
                )

    def is_finished(self) -> bool:
        """Whether all trials have come to an end; it is said then."""
        states = [trial.state.name for trial in self._study.trials]
        if len(states) < self._n_trials or "RUNNING" in states:
            return False
        more = "a larger hydra.sweeper.n_trials goes on"
        print(f"the search in {self._root} is finished: {self}; {more}, {_OTHER}", flush=True)
        return True

    def __str__(self) -> str:
        """`12 of 20 trials, 4 pruned; best success 0.84, trial 7: method.actor_lr=0.001`."""
        states = [trial.state.name for trial in self._study.trials]
        done = sum(state not in ("RUNNING", "WAITING") for state in states)
        text = f"{done} of {self._n_trials} trials"
        for state, word in (
            ("PRUNED", "pruned"),
            ("FAIL", "failed"),
            ("RUNNING", "not at their end"),
        ):
            if state in states:
                text += f", {states.count(state)} {word}"
        if "COMPLETE" in states:
            best = self._study.best_trial
            text += f"; best success {best.value:g}, trial {best.number}: "
            text += " ".join(_words(best.params))
        return text

    def _next(self, at_once: int) -> list[Any]:
        """Trials to launch: those that were interrupted first."""
        running = [trial for trial in self._study.trials if trial.state.name == "RUNNING"]
        free = [t for t in running if self._status(t.number) is not Status.RUNNING]
        room = self._n_trials - len(self._study.trials)
        new = min(max(0, room), at_once - len(free[:at_once]))
        return [*free[:at_once], *(self._study.ask(self._space.varied) for _ in range(new))]

    def _settle(self) -> None:
        """Tell the study of the trials that have come to an end."""
        states = optuna().trial.TrialState
        for trial in self._study.trials:
            if trial.state.name != "RUNNING":
                continue
            folder = self._root / str(trial.number)
            record = run_record.read(folder)
            success = sweep_jobs.best_success(folder)
            finished = record.status is Status.FINISHED
            if finished and record.reason == PRUNED:
                self._study.tell(trial.number, state=states.PRUNED)
            elif finished and success is not None:
                self._study.tell(trial.number, success)
            elif finished or record.status is Status.FAILED:
                self._study.tell(trial.number, state=states.FAIL)

    def _overrides(self, trial: Any) -> Words:
        return (*self._space.fixed, *_words(trial.params), f"trial={trial.number}")

    def _launched(self, job: Job) -> list[str]:
        folder = self._root / job.folder
        words = [*job.overrides, f"hydra.sweep.subdir={job.folder}"]
        if run_snapshot.latest(folder) is not None:
            return [*words, f"resume_from={hydra_value(str(folder))}"]
        sweep_jobs.begin_anew(folder)
        return words

    def _status(self, number: int) -> Status:
        return run_record.read(self._root / str(number)).status

    def _state(self, number: int) -> str:
        return self._study.trials[number].state.name
