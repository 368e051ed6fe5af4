"""Claims about recorded steps: paid again they pay what the task paid, for any version."""

import numpy as np
import pytest

from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.evaluation.paid_steps import pay_per_step, record
from so101_robobase.tasks.entry import make_teacher
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.rewards import VERSIONS

SEEDS = [3, 4, 5]


def lift(version="v19", **settings):
    config = LiftConfig(
        observation="state", reward_version=version, on_success="terminate", **settings
    )
    return TaskVectorEnv(config, len(SEEDS))


def expert_episodes(**settings):
    """Recorded episodes of the expert, and what each earned according to its environment."""
    env = lift(**settings)
    expert = make_teacher(env.unwrapped.task)
    steps = record(env, lambda _: expert.act(), SEEDS)
    expert.reset()
    env.reset(seed=SEEDS)
    earned, playing = np.zeros(len(SEEDS)), np.ones(len(SEEDS), bool)
    while playing.any():
        _, reward, terminated, truncated, _ = env.step(expert.act())
        earned += np.where(playing, reward, 0)
        playing &= ~(terminated | truncated)
    env.close()
    return steps, earned


@pytest.fixture(scope="module")
def recorded():
    return expert_episodes()


def test_steps_pay_again_what_the_environment_paid(recorded):
    steps, earned = recorded
    assert steps.pay("v19").sum(0) == pytest.approx(earned)
    assert len(set(steps.playing.sum(0))) > 1  # ends at other times: masks matter


def test_another_version_is_paid_as_if_the_episodes_had_been_played_with_it(recorded):
    for version in ("v1", "v15", "v20"):
        _, earned = expert_episodes(version=version)
        assert recorded[0].pay(version).sum(0) == pytest.approx(earned)


def test_the_recorded_environment_pays_as_before(recorded):
    env = lift()
    usual = env.unwrapped.task.pays
    record(env, lambda _: np.zeros(env.action_space.shape), SEEDS)
    assert env.unwrapped.task.pays is usual
    env.close()


def test_situations_share_no_step_and_the_expert_goes_through_all(recorded):
    steps, _ = recorded
    found = steps.situations()
    assert sum(mask.astype(int) for mask in found.values()).max() == 1
    assert all(mask.any() for mask in found.values())
    assert steps.succeeded.all()
    assert found["succeeding"].sum() == len(SEEDS)  # which ends the episode


def test_a_step_pays_more_the_further_it_is_and_what_was_not_seen_is_nan(recorded):
    for version in VERSIONS:
        pay = pay_per_step([recorded[0]], version)
        assert pay["hovering"] < pay["grasping"] < pay["lifting"]
    env = lift(episode_length=20)
    idle = record(env, lambda _: np.zeros(env.action_space.shape), SEEDS)
    env.close()
    assert not idle.succeeded.any()
    assert np.isnan(pay_per_step([idle], "v19")["succeeding"])
