"""Steps of lift episodes, recorded once, and what any version of the reward pays for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from so101_robobase.tasks.lift.rewards import OFF_TABLE_HEIGHT, Reward, RewardSignals

HOVER_DISTANCE = 0.06  # m between TCP and cube centre; the scripted expert waits at 0.045

Act = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Observations of N episodes -> actions as the environment takes them."""


@dataclass(frozen=True)
class PaidSteps:
    """T control steps of N episodes.

    Attributes:
        signals: what rewards depend on, fields (T, N).
        playing: (T, N) bool, False once the episode is over.
        lift_height: m.
    """

    signals: RewardSignals
    playing: np.ndarray
    lift_height: float

    def pay(self, version: str) -> np.ndarray:
        """What `version` pays for each step, (T, N); 0 once an episode is over."""
        return np.where(self.playing, Reward(version, self.lift_height)(self.signals), 0)

    @property
    def succeeded(self) -> np.ndarray:
        """Episodes with a successful step, (N,) bool."""
        return (self.signals.success & self.playing).any(axis=0)

    def situations(self) -> dict[str, np.ndarray]:
        """Which steps are what, (T, N) bool each; no step is two of them, many are none.

        | situation  | meaning                                                                |
        |------------|------------------------------------------------------------------------|
        | hovering   | within `HOVER_DISTANCE` of a cube on the table, not held               |
        | grasping   | held, on the table                                                     |
        | lifting    | held, off the table, not above the lift height                         |
        | holding    | held above the lift height, not for long enough                        |
        | succeeding | a step of success                                                      |
        """
        s, held = self.signals, self.signals.grasping & ~self.signals.success
        on_table, lifted = s.cube_z <= OFF_TABLE_HEIGHT, s.cube_z > self.lift_height
        near = s.tcp_to_cube < HOVER_DISTANCE
        found = {
            "hovering": ~s.grasping & ~s.success & near & on_table,
            "grasping": held & on_table,
            "lifting": held & ~on_table & ~lifted,
            "holding": held & lifted,
            "succeeding": s.success,
        }
        return {name: steps & self.playing for name, steps in found.items()}


def pay_per_step(recorded: Sequence[PaidSteps], version: str) -> dict[str, float]:
    """Mean pay of a control step in each of the `situations`; nan where there is no such step."""
    found: dict[str, list[np.ndarray]] = {}
    for steps in recorded:
        pay = steps.pay(version)
        for name, mask in steps.situations().items():
            found.setdefault(name, []).append(pay[mask])
    paid = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: float(part.mean()) if part.size else np.nan for name, part in paid.items()}


def record(env: VectorEnv, act: Act, seeds: Sequence[int]) -> PaidSteps:
    """Play one episode of the lift in every member of `env`, from `reset(seed=seeds)`."""
    task: Any = env.unwrapped.task  # type: ignore[attr-defined]
    listener = _Listener(task)
    usual, task.pays = task.pays, listener
    playing = np.ones(env.num_envs, bool)
    masks: list[np.ndarray] = []
    try:
        observations, _ = env.reset(seed=list(seeds))  # type: ignore[arg-type]
        while playing.any():
            observations, _, terminated, truncated, _ = env.step(act(observations))
            masks += [mask & playing for mask in listener.running[len(masks) :]]
            playing &= ~(terminated | truncated)
    finally:
        task.pays = usual
    columns = {
        field.name: np.stack([getattr(step, field.name) for step in listener.steps])
        for field in fields(RewardSignals)
    }
    return PaidSteps(RewardSignals(**columns), np.stack(masks), task.config.lift_height)


class _Listener(Reward):
    """Pays as the reward of `task` does and keeps what it was asked."""

    def __init__(self, task: Any):
        super().__init__(task.pays.version, task.pays.lift_height)
        self._task = task
        self.steps: list[RewardSignals] = []
        self.running: list[np.ndarray] = []

    def __call__(self, signals: RewardSignals) -> np.ndarray:
        copies = {f.name: np.array(getattr(signals, f.name)) for f in fields(signals)}
        self.steps.append(RewardSignals(**copies))
        self.running.append(~(self._task.terminated | self._task.truncated))
        return super().__call__(signals)
