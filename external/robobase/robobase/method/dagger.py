"""DAgger (Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret
Online Learning", 2011): imitate a teacher in the states that the learner itself brings about."""

from typing import Any

import torch

from robobase.method.actor_critic import Batch
from robobase.method.bc import BC
from robobase.method.core import BatchedActionSequence, Metrics, TaughtMethod
from robobase.method.weight_average import WeightAverage
from robobase.utils import schedule


class DAgger(BC, TaughtMethod):
    """Behaviour cloning from the run's own replay, whose actions are the teacher's.

    Args (those of `BC` come in addition):
        teacher_share: schedule over env steps of the environments in which the teacher acts
            itself; 1 at first, so that the learner begins with what success looks like.
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
        self.average: WeightAverage | None = None
        if weight_average is not None:
            self.average = WeightAverage(self, weight_average)

    def teacher_share(self, step: int) -> float:
        return schedule(self.teacher_schedule, step)

    @torch.no_grad()
    def act(
        self, observations: Batch, step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """The predicted actions `(B, S, A)`, in training with noise."""
        if not eval_mode:
            actions = self._predict(self.observe(observations))
            return (actions + self.noise * torch.randn_like(actions)).clamp(-1, 1)
        if self.average is None:
            return super().act(observations, step, eval_mode)
        with self.average.standing_in(self):
            return super().act(observations, step, eval_mode)

    def update(self, *args: Any, **kwargs: Any) -> Metrics:
        """One gradient step on one batch; see `Method.update`."""
        metrics = super().update(*args, **kwargs)
        if self.average is not None:
            self.average.update(self)
        return metrics

    def reset(self, step: int, agents_to_reset: list[int]) -> None:
        """Clear the recurrent states of environments whose episode ended, the average's too."""
        super().reset(step, agents_to_reset)
        if self.average is not None:
            with self.average.standing_in(self):
                super().reset(step, agents_to_reset)

    def set_eval_env_running(self, value: bool) -> None:
        super().set_eval_env_running(value)
        if self.average is not None:
            with self.average.standing_in(self):
                super().set_eval_env_running(value)
