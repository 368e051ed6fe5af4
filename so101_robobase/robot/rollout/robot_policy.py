"""The policy on the robot: the same networks, fed with what was measured."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from omegaconf import DictConfig

from robobase.envs.wrappers import ActionSequence, RecedingHorizonControl
from robobase.errors import UserError
from so101_robobase.arm.kinematics import Kinematics, rpy
from so101_robobase.evaluation.policy import TRAINED, Policy
from so101_robobase.vision.observation import proprioception


@dataclass(frozen=True)
class PolicyAction:
    """What the policy wants."""

    action: np.ndarray  # (A,) in [-1, 1], or nan where the networks have gone astray
    value: float | None  # the critic's estimate of the return


class RobotPolicy:
    """Acts from pictures and measured joints, one policy step at a time.

    What it stacks, and which of the actions that it plans it takes, is as in `SO101Factory`'s
    environments: pictures and joints count where it plans, in between they are not looked at.

    Args:
        judge: also ask the critic for the return that it expects, where the agent has one.

    Attributes:
        config: the task that the policy was trained for.

    Raises:
        UserError: the policy needs what the robot cannot give it, such as the cube's position.
    """

    def __init__(self, policy: Policy, kinematics: Kinematics, judge: bool = False):
        self.config = policy.task()
        if not self.config.pixels:
            raise UserError(
                "this snapshot was trained on observation=state, which holds the cube's position; "
                "a robot cannot measure it: give a snapshot of seg_depth, seg or rgb"
            )
        if policy.cfg.use_onehot_time_and_no_bootstrap:
            raise UserError(
                "this snapshot was trained with use_onehot_time_and_no_bootstrap=true: it acts by "
                "the time that is left of an episode; give a snapshot trained without"
            )
        self._policy = policy
        self._kinematics = kinematics
        self._pictures: deque[np.ndarray] = deque(maxlen=policy.cfg.frame_stack)
        self._states: deque[np.ndarray] = deque(maxlen=policy.cfg.frame_stack)
        self._planned = _Plan(policy.cfg, policy.agent.action_space)
        self._value: float | None = None
        self._judges = judge and hasattr(policy.agent, "estimate_return")

    def begin(self) -> None:
        """A new episode: nothing has been seen."""
        self._pictures.clear()
        self._states.clear()
        self._planned.clear()
        agent = self._policy.agent
        agent.set_eval_env_running(True)
        agent.train(False)
        agent.reset(TRAINED, [agent.num_train_envs])

    def act(
        self, picture: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray
    ) -> PolicyAction:
        """The next action.

        Args:
            picture: (C, H, W) uint8, the newest.
            joint_pos, joint_vel: (6,) rad and rad/s, measured.
        """
        if not self._planned.actions:
            self._see(picture, self._state(joint_pos, joint_vel))
            observation = {"rgb": np.stack(self._pictures), "low_dim_state": np.stack(self._states)}
            actions = self._policy.act(observation)  # (S, A)
            self._planned.add(actions)
            self._value = self._estimate(observation, actions) if self._judges else None
        return PolicyAction(self._planned.actions.popleft().astype(np.float64), self._value)

    def warm_up(self) -> None:
        """Act once on nothing, so that the first real step is as quick as the others."""
        size = self.config.image_size
        space = self._policy.agent.observation_space
        channels = space["rgb"].shape[1]  # type: ignore[index]
        self.begin()
        for _ in range(3):
            self.act(np.zeros((channels, size, size), np.uint8), np.zeros(6), np.zeros(6))
        self.begin()

    def _estimate(self, observation: dict[str, np.ndarray], actions: np.ndarray) -> float:
        rows = {key: value[None] for key, value in observation.items()}
        values = self._policy.estimate_return(rows, actions[None])
        assert values is not None
        return float(values[0])

    def _state(self, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        tcp_pos, tcp_rot = self._kinematics.forward(joint_pos[None])
        return proprioception(joint_pos[None], joint_vel[None], tcp_pos, rpy(tcp_rot))[0]

    def _see(self, picture: np.ndarray, state: np.ndarray) -> None:
        missing = self._pictures.maxlen - len(self._pictures)  # type: ignore[operator]
        for _ in range(max(1, missing)):
            self._pictures.append(picture)
            self._states.append(state)


class _Plan:
    """Actions to come: those that training's own wrappers would play of each planned sequence.

    Attributes:
        actions: (A,) each, the next one first.
    """

    def __init__(self, cfg: DictConfig, space: spaces.Space):
        assert isinstance(space, spaces.Box)
        notebook = _Notebook(spaces.Box(space.low[0], space.high[0], dtype=space.dtype.type))
        self.actions = notebook.played
        self._player: ActionSequence = ActionSequence(notebook, cfg.action_sequence)
        if cfg.execution_length < cfg.action_sequence:
            self._player = RecedingHorizonControl(
                notebook,
                cfg.action_sequence,
                time_limit=0,  # of no effect
                execution_length=cfg.execution_length,
                temporal_ensemble=cfg.temporal_ensemble,
                gain=cfg.temporal_ensemble_gain,
            )

    def add(self, actions: np.ndarray) -> None:
        """Play the sequence (S, A)."""
        self._player.step(actions)

    def clear(self) -> None:
        """Nothing is planned."""
        self._player.reset()


class _Notebook(gym.Env):
    """An environment that writes down what is played in it."""

    def __init__(self, action_space: spaces.Box):
        self.action_space = action_space
        self.observation_space = spaces.Dict()
        self.played: deque[np.ndarray] = deque()

    def reset(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        self.played.clear()
        return {}, {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.played.append(action)
        return {}, 0.0, False, False, {}
