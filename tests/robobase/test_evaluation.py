"""Evaluation: fixed seeds, waves of environments, success as RoboBase reports it."""

import numpy as np
import pytest
import torch
from tiny_task import TinyEnv, TinyVectorEnv

from robobase.errors import UserError
from robobase.evaluation import act, evaluate, task_success


class Walker:
    """Stands in for a method; the vector to the target is in the state without pixels."""

    device = torch.device("cpu")
    num_train_envs = 4
    eval_env_running = False
    training = True

    def __init__(self):
        self.resets = []

    def act(self, observations, step, eval_mode):
        point, target = observations["low_dim_state"][:, -1].split(2, dim=-1)
        return ((target - point) * 5).clamp(-1, 1)[:, None]

    def set_eval_env_running(self, value):
        self.eval_env_running = value

    def train(self, mode):
        self.training = mode

    def reset(self, step, agents):
        self.resets.append(agents)


def envs(n: int) -> TinyVectorEnv:
    return TinyVectorEnv(n, episode_length=20, pixels=False)


def test_one_wave_many_waves_and_a_single_environment_agree():
    results = [
        evaluate(Walker(), env, num_episodes=7, seed=3, step=0)
        for env in (envs(7), envs(3), envs(1), TinyEnv(20, pixels=False))
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.success, results[0].success)
        np.testing.assert_array_equal(result.length, results[0].length)
        np.testing.assert_allclose(result.reward, results[0].reward)
    assert results[0].success.all()
    assert len(set(results[0].reward)) == 7  # seven different seeds


def test_each_episode_keeps_its_last_info():
    result = evaluate(Walker(), envs(3), num_episodes=5, seed=0, step=0)
    assert [info["task_success"] for info in result.final_info] == [1.0] * 5
    assert all(info["distance"] < 0.2 for info in result.final_info)


def test_on_step_tells_which_episode_each_environment_plays():
    seen = []
    evaluate(
        Walker(), envs(2), 3, seed=0, step=0, on_step=lambda env, infos, k: seen.append(tuple(k))
    )
    assert seen[0] == (0, 1)
    assert (2, -1) in seen
    assert {k for pair in seen for k in pair} == {-1, 0, 1, 2}


def test_the_agent_is_told_and_left_as_it_was():
    agent = Walker()
    evaluate(agent, envs(2), 4, seed=0, step=0)
    assert agent.training
    assert not agent.eval_env_running
    assert agent.resets == [[4, 5], [4, 5]]  # ids of the evaluation environments, at every wave


def test_lengths_are_reported_in_env_steps():
    result = evaluate(Walker(), envs(2), 4, seed=0, step=0)
    assert result.metrics(action_repeat=3)["episode_length"] == pytest.approx(
        3 * result.length.mean()
    )


def test_success_that_nobody_reports_is_omitted():
    class Silent(TinyEnv):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {}

    result = evaluate(Walker(), Silent(20, pixels=False), 2, seed=0, step=0)
    assert result.success is None
    assert "episode_success" not in result.metrics()


def test_no_episodes_are_refused():
    with pytest.raises(UserError, match="num_episodes=0"):
        evaluate(Walker(), envs(1), 0, seed=0, step=0)


def test_final_info_decides_for_environments_that_ended():
    infos = {
        "task_success": np.array([1.0, 1.0, 0.0]),  # of the next episode where one ended
        "final_info": {"task_success": np.array([0.0, 0.0, 1.0])},
        "_final_info": np.array([False, True, True]),
    }
    np.testing.assert_array_equal(task_success(infos, 3), [True, False, True])
    assert task_success({}, 3) is None


def test_an_action_of_the_wrong_rank_is_an_error():
    agent = Walker()
    agent.act = lambda *_: torch.zeros(1, 2)
    with pytest.raises(ValueError, match=r"returned shape \(1, 2\)"):
        act(agent, {"low_dim_state": np.zeros((1, 1, 4), np.float32)}, 0, True)
