"""The policy on the robot: the same networks, fed with what was measured."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from robobase.errors import UserError
from so101_robobase.config import LiftConfig
from so101_robobase.evaluation.policy import TRAINED, Policy
from so101_robobase.kinematics import Kinematics, rpy
from so101_robobase.observation import proprioception


@dataclass(frozen=True)
class Decision:
    """What the policy wants."""

    action: np.ndarray  # (A,) in [-1, 1], or nan where the networks have gone astray
    value: float | None  # the critic's estimate of the return


class RobotPolicy:
    """Acts from pictures and measured joints, one policy step at a time.

    Args:
        judge: also ask the critic for the return that it expects, where the agent has one.

    Attributes:
        config: the task that the policy was trained for.

    Raises:
        UserError: the policy needs what the robot cannot give it, such as the cube's position.
    """

    def __init__(self, policy: Policy, kinematics: Kinematics, judge: bool = False):
        self.config = LiftConfig.from_cfg(policy.cfg, evaluation=True)
        if not self.config.pixels:
            raise UserError(
                "this snapshot was trained on observation=state, which holds the cube's position; "
                "a robot cannot measure it: give a snapshot of seg_depth, seg or rgb"
            )
        for key in ("use_onehot_time_and_no_bootstrap", "temporal_ensemble"):
            if policy.cfg[key] and policy.cfg.action_sequence > 1:
                raise UserError(f"a snapshot with {key}=true cannot run on the robot yet")
        self._policy = policy
        self._kinematics = kinematics
        self._pictures: deque[np.ndarray] = deque(maxlen=policy.cfg.frame_stack)
        self._states: deque[np.ndarray] = deque(maxlen=policy.cfg.frame_stack)
        self._planned: deque[np.ndarray] = deque()
        self._value: float | None = None
        self._judges = judge and hasattr(policy.agent, "estimate_return")

    def begin(self) -> None:
        """A new episode: nothing has been seen."""
        for memory in (self._pictures, self._states, self._planned):
            memory.clear()
        agent = self._policy.agent
        agent.set_eval_env_running(True)
        agent.train(False)
        agent.reset(TRAINED, [agent.num_train_envs])

    def act(self, picture: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> Decision:
        """The next action.

        Args:
            picture: (C, H, W) uint8, the newest.
            joint_pos, joint_vel: (6,) rad and rad/s, measured.
        """
        self._see(picture, self._state(joint_pos, joint_vel))
        if not self._planned:
            observation = {"rgb": np.stack(self._pictures), "low_dim_state": np.stack(self._states)}
            actions = self._policy.act(observation)  # (S, A)
            self._planned.extend(actions)
            self._value = self._estimate(observation, actions) if self._judges else None
        return Decision(np.asarray(self._planned.popleft(), np.float64), self._value)

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
        agent = self._policy.agent
        batch = {
            key: torch.from_numpy(value[None]).to(agent.device)
            for key, value in observation.items()
        }
        action = torch.from_numpy(actions[None]).to(agent.device)
        return float(agent.estimate_return(batch, action)[0])  # type: ignore[operator]

    def _state(self, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        tcp_pos, tcp_rot = self._kinematics.forward(joint_pos[None])
        return proprioception(joint_pos[None], joint_vel[None], tcp_pos, rpy(tcp_rot))[0]

    def _see(self, picture: np.ndarray, state: np.ndarray) -> None:
        missing = self._pictures.maxlen - len(self._pictures)  # type: ignore[operator]
        for _ in range(max(1, missing)):
            self._pictures.append(picture)
            self._states.append(state)
