"""Agents that decide on several actions at once: play them in order, or re-plan as they go."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from robobase.envs.wrappers.core import EnvWrapper, State, to_tensor
from robobase.errors import UserError


class ActionSequence(EnvWrapper):
    """Take `sequence_length` actions per step and play them one after the other.

    The action space `(*shape)` becomes `(sequence_length, *shape)`. Rewards are summed; playing
    stops when the episode ends. `info["action_sequence_mask"]`, int `(sequence_length,)`, is 1 for
    the actions that were played. On a demo environment (`is_demo_env`) the recorded actions are
    collected into `info["demo_action"]`, `(sequence_length, *shape)`.

    Raises:
        NotImplementedError: `env` is a vector environment.
        UserError: `sequence_length < 1` or the action space is no Box.
        ValueError: an action has the wrong shape.
    """

    def __init__(self, env: gym.Env, sequence_length: int):
        super().__init__(env, sequence_length=sequence_length)
        single = env.action_space
        if not isinstance(single, spaces.Box):
            raise UserError(f"ActionSequence needs a Box action space; got {single}")
        if sequence_length < 1:
            raise UserError(f"sequence_length={sequence_length} is not allowed; give 1 or more")
        self._sequence_length = sequence_length
        self.action_space = spaces.Box(
            np.repeat(single.low[None], sequence_length, axis=0),
            np.repeat(single.high[None], sequence_length, axis=0),
            dtype=single.dtype.type,
        )
        self.is_demo_env = bool(
            env.has_wrapper_attr("is_demo_env") and env.get_wrapper_attr("is_demo_env")
        )

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._check_shape(action)
        return self._play(action, self._sequence_length)

    def _check_shape(self, action: np.ndarray) -> None:
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"action has shape {action.shape}; allowed: {self.action_space.shape} "
                "(sequence length first)"
            )

    def _play(
        self, actions: np.ndarray, count: int
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play the first `count` (at least one) of `actions`."""
        mask = np.zeros(self._sequence_length, dtype=int)
        demo_actions = actions.copy()
        total = 0.0
        for k in range(count):
            observation, reward, terminated, truncated, info = self.env.step(
                self._action_now(actions, k)
            )
            info = dict(info)
            mask[k] = 1
            total += float(reward)
            if self.is_demo_env:
                demo_actions[k] = info.pop("demo_action")
            if terminated or truncated:
                break
        if self.is_demo_env:
            info["demo_action"] = demo_actions
        info["action_sequence_mask"] = mask
        return observation, total, terminated, truncated, info

    def _action_now(self, actions: np.ndarray, k: int) -> np.ndarray:
        """The action to play at position `k`."""
        return actions[k]


class RecedingHorizonControl(ActionSequence):
    """Play only `execution_length` actions of each sequence, averaged over overlapping sequences.

    With `temporal_ensemble` (Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with
    Low-Cost Hardware", the temporal ensemble of ACT) the action at a time step is the mean of all
    predictions for it, weighted by `exp(-gain * k)` with k = 0 for the oldest. A demo environment
    plays whole sequences.

    Args:
        env: environment with a Box action space.
        sequence_length: actions per prediction.
        time_limit: RoboBase's bound on the steps of an episode; nothing here depends on it.
        execution_length: actions played per step, at most `sequence_length`.
        temporal_ensemble: whether to average.
        gain: how fast the weight falls from old to new predictions.
    """

    def __init__(
        self,
        env: gym.Env,
        sequence_length: int,
        time_limit: int,
        execution_length: int,
        temporal_ensemble: bool = True,
        gain: float = 0.01,
    ):
        RecordConstructorArgs.__init__(
            self,
            sequence_length=sequence_length,
            time_limit=time_limit,
            execution_length=execution_length,
            temporal_ensemble=temporal_ensemble,
            gain=gain,
        )
        super().__init__(env, sequence_length)
        if not 1 <= execution_length <= sequence_length:
            raise UserError(
                f"execution_length={execution_length} is not allowed; give 1 to sequence_length"
                f"={sequence_length}"
            )
        self._execution_length = execution_length
        self._temporal_ensemble = temporal_ensemble
        self._gain = gain
        self._predictions: list[tuple[int, np.ndarray]] = []  # (first time step, actions)
        self._time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._predictions = []
        self._time = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._check_shape(action)
        # A prediction that ends before now can no longer take part.
        alive = [p for p in self._predictions if p[0] + self._sequence_length > self._time]
        self._predictions = [*alive, (self._time, action.copy())]
        return self._play(
            action, self._sequence_length if self.is_demo_env else self._execution_length
        )

    def _action_now(self, actions: np.ndarray, k: int) -> np.ndarray:
        time, self._time = self._time, self._time + 1
        if not self._temporal_ensemble or self._sequence_length == 1:
            return actions[k]
        candidates = np.stack(
            [
                prediction[time - start]
                for start, prediction in self._predictions
                if time < start + self._sequence_length
            ]
        )  # oldest first
        weights = np.exp(-self._gain * np.arange(len(candidates)))
        mean = np.average(candidates, axis=0, weights=weights)
        return mean.astype(actions.dtype)

    def _wrapper_state(self) -> State:
        return {
            "time": self._time,
            "starts": [start for start, _ in self._predictions],
            "predictions": [to_tensor(actions) for _, actions in self._predictions],
        }

    def _load_wrapper_state(self, state: State) -> None:
        self._time = state["time"]
        predictions = [np.asarray(actions).copy() for actions in state["predictions"]]
        self._predictions = list(zip(state["starts"], predictions, strict=True))
