"""A teacher beside the training environments, for methods that imitate it as they act."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robobase.errors import UserError
from robobase.method.core import TaughtMethod
from robobase.resume_checks import expect, has_shape
from robobase.snapshot import to_plain


class Teaching:
    """Listens to `infos["teacher_action"]` (N, A), the teacher's answer to the observations that
    come with it, and lets the teacher act in some of the environments.

    Args:
        method: says in which share of the environments the teacher acts.
    """

    def __init__(self, method: TaughtMethod):
        self._method = method
        self.actions: np.ndarray | None = None  # (N, 1, A), of the present observations

    def listen(self, infos: Mapping[str, Any]) -> None:
        """Take the teacher's actions for the newest observations out of a reset's or step's infos.

        Raises:
            UserError: the environments have no teacher.
        """
        if "teacher_action" not in infos:
            raise UserError(
                f"{type(self._method).__name__} imitates a teacher, but the environments give no "
                "teacher_action in their infos; set env.teacher=true where the environment has one"
            )
        self.actions = np.asarray(infos["teacher_action"])[:, None].copy()

    def take_over(self, actions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What to do, and what to remember as the action of the present observations.

        Args:
            actions: the learner's, (N, 1, A). The first environments do the teacher's instead.
        """
        assert self.actions is not None
        taught = round(self._method.teacher_share(step) * len(actions))
        return np.concatenate([self.actions[:taught], actions[taught:]]), self.actions

    def state_dict(self) -> torch.Tensor | None:
        """The teacher's actions for the present observations."""
        return to_plain(self.actions)

    def load_state_dict(self, actions: torch.Tensor) -> None:
        """Raises ValueError for what are no actions of as many environments."""
        shape = (self._method.num_train_envs, *self._method.action_space.shape)
        expect(has_shape(actions, shape) and actions.is_floating_point(), "teacher_actions")
        self.actions = actions.numpy()
