"""DAgger (Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret
Online Learning", 2011): imitate a teacher in the states that the learner itself brings about."""

from typing import Any

import torch

from robobase.method.bc import BC
from robobase.method.core import Batch, BatchedActionSequence, Metrics, TaughtMethod
from robobase.utils import schedule


class DAgger(BC, TaughtMethod):
    """Behaviour cloning from the run's own replay, whose actions are the teacher's.

    Algorithm 3.1 of the paper, and where it is done; pi* is the teacher, pi^ the networks:

    * who acts      pi_i = beta_i pi* + (1 - beta_i) pi^_i: here pi* acts in the share beta of the
      environments, pi^ plus noise in the others          (`teacher_share`, `act`)
    * data          D <- D + {(s, pi*(s))}, s visited by pi_i   (the run: `robobase.teaching`)
    * learning      pi^ descends the mean of |pi^(s) - pi*(s)|^2 over D             (`BC.update`)

    The paper trains pi^ to the end after each of some rounds; here it goes on learning as D grows.

    Args (those of `BC` come in addition):
        teacher_share: schedule of beta over env steps; 1 at first, so that the learner begins with
            what success looks like.
        noise: standard deviation of the Gaussian noise on actions in training, which leads to
            states that neither would visit.
        weight_average: decay per update of the average of the weights that acts in evaluation;
            None: the networks themselves act.
    """

    def __init__(
        self,
        teacher_share: str | float,
        noise: float,
        weight_average: float | None,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.teacher_schedule, self.noise = teacher_share, noise
        self.keep_average(weight_average)

    def teacher_share(self, step: int) -> float:
        """beta after `step` env steps."""
        return schedule(self.teacher_schedule, step)

    @torch.no_grad()
    def act(
        self, observations: Batch, step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """pi^(s), `(B, S, A)`, in training with noise."""
        with self.acting(eval_mode):
            actions = self.predict(self.observe(observations))
        if not eval_mode:
            actions = actions + self.noise * torch.randn_like(actions)
        return actions.clamp(-1, 1)

    def update(self, *args: Any, **kwargs: Any) -> Metrics:
        """One gradient step on one batch; see `Method.update`."""
        metrics = super().update(*args, **kwargs)
        if self.average is not None:
            self.average.update(self)
        return metrics
