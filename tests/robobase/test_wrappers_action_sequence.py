"""Playing several actions per step, and averaging overlapping predictions."""

import numpy as np
import pytest
from wrapper_envs import CountingEnv

from robobase.envs.env import Demo, DemoEnv
from robobase.envs.wrappers import (
    ActionSequence,
    AppendDemoInfo,
    FrameStack,
    RecedingHorizonControl,
)
from robobase.errors import UserError


def _chunk(*values):
    return np.repeat(np.array(values, np.float32)[:, None], 2, axis=1)


def _played(env):
    return [float(action[0]) for action in env.unwrapped.actions]


class DemoCountingEnv(CountingEnv):
    """Replays recorded actions 10, 20, 30, … whatever it is given."""

    is_demo_env = True

    def step(self, action):
        *transition, info = super().step(action)
        return (*transition, {**info, "demo_action": np.full(2, 10.0 * self.count, np.float32)})


def test_actions_are_played_in_order_and_rewards_summed():
    env = ActionSequence(CountingEnv(), 3)
    assert env.action_space.shape == (3, 2)
    assert env.action_space.high[2, 1] == 2.0
    env.reset()
    observation, reward, terminated, truncated, info = env.step(_chunk(0.1, 0.2, 0.3))
    np.testing.assert_allclose(_played(env), [0.1, 0.2, 0.3])
    assert observation["state"][0] == 3
    assert reward == 6.0
    assert not terminated
    assert not truncated
    assert info["action_sequence_mask"].tolist() == [1, 1, 1]
    assert info["count"] == 3


def test_the_end_of_the_episode_stops_the_sequence():
    env = ActionSequence(CountingEnv(length=2), 3)
    env.reset()
    _, reward, _, truncated, info = env.step(_chunk(1, 2, 3))
    assert truncated
    assert reward == 4.0
    assert info["action_sequence_mask"].tolist() == [1, 1, 0]


def test_an_action_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        ActionSequence(CountingEnv(), 3).step(_chunk(1, 2))


def test_demo_actions_are_collected_and_unreached_positions_keep_the_given_action():
    env = ActionSequence(DemoCountingEnv(length=2), 3)
    env.reset()
    *_, info = env.step(_chunk(1, 2, 3))
    assert info["demo_action"][:, 0].tolist() == [10.0, 20.0, 3.0]


def test_a_demonstration_plays_through_all_wrappers():
    space = CountingEnv().observation_space
    observations = [{key: box.low + k for key, box in space.spaces.items()} for k in range(4)]
    steps = [
        (obs, 1.0, k == 3, False, {"demo": 1, "demo_action": np.full(2, k / 10, np.float32)})
        for k, obs in enumerate(observations[1:], start=1)
    ]
    demo = Demo([(observations[0], {"demo": 1}), *steps])
    inner = DemoEnv([demo], CountingEnv().action_space, space)
    env = AppendDemoInfo(FrameStack(ActionSequence(inner, 1), 2))
    env.reset()
    actions, ended = [], False
    while not ended:
        observation, _, ended, _, info = env.step(np.zeros((1, 2), np.float32))
        actions.append(float(info["demo_action"][0, 0]))
        assert info["demo"] == 1
    np.testing.assert_allclose(actions, [0.1, 0.2, 0.3])
    assert observation["state"][:, 0].tolist() == [-8.0, -7.0]


def test_without_an_ensemble_the_newest_prediction_is_played():
    env = RecedingHorizonControl(CountingEnv(50), 3, 50, 2, temporal_ensemble=False)
    env.reset()
    env.step(_chunk(1, 2, 3))
    env.step(_chunk(4, 5, 6))
    assert _played(env) == [1, 2, 4, 5]


def test_the_ensemble_averages_all_predictions_with_older_ones_weighing_more():
    gain = 0.5
    env = RecedingHorizonControl(CountingEnv(50), 3, 50, 1, gain=gain)
    env.reset()
    for chunk in (_chunk(1, 2, 3), _chunk(0, 7, 8), _chunk(5, 1, 1), _chunk(9, 9, 9)):
        env.step(chunk)
    w = np.exp(-gain * np.arange(3))
    expected = [
        1.0,
        (2 * w[0] + 0 * w[1]) / w[:2].sum(),  # a prediction of exactly 0 counts
        (3 * w[0] + 7 * w[1] + 5 * w[2]) / w.sum(),
        (8 * w[0] + 1 * w[1] + 9 * w[2]) / w.sum(),  # the first prediction has run out
    ]
    np.testing.assert_allclose(_played(env), expected, rtol=1e-6)


def test_predictions_that_run_out_during_a_step_take_no_further_part():
    env = RecedingHorizonControl(CountingEnv(50), 3, 50, 2, gain=0.0)
    env.reset()
    env.step(_chunk(1, 2, 3))
    env.step(_chunk(5, 6, 7))
    assert _played(env) == [1, 2, (3 + 5) / 2, 6]


def test_memory_does_not_grow_with_the_episode():
    env = RecedingHorizonControl(CountingEnv(10_000), 4, 10_000, 1)
    env.reset()
    for _ in range(50):
        env.step(_chunk(1, 2, 3, 4))
    assert len(env._predictions) <= 4


def test_a_reset_forgets_old_predictions():
    env = RecedingHorizonControl(CountingEnv(50), 2, 50, 1)
    env.reset()
    env.step(_chunk(1, 2))
    env.reset()
    env.step(_chunk(0.5, 0.5))
    assert _played(env) == [1, 0.5]


def test_a_demo_environment_plays_the_whole_sequence():
    env = RecedingHorizonControl(DemoCountingEnv(50), 3, 50, 1)
    env.reset()
    *_, info = env.step(_chunk(1, 2, 3))
    assert info["demo_action"][:, 0].tolist() == [10.0, 20.0, 30.0]


def test_predictions_are_part_of_the_saved_state():
    def make():
        env = RecedingHorizonControl(CountingEnv(50), 3, 50, 1)
        env.reset()
        return env

    original, resumed = make(), make()
    original.step(_chunk(1, 2, 3))
    resumed.load_state_dict(original.state_dict())
    for env in (original, resumed):
        env.step(_chunk(0, 0, 0))
    assert _played(resumed)[-1] == _played(original)[-1] != 0


@pytest.mark.parametrize("execution_length", [0, 4])
def test_more_actions_than_predicted_cannot_be_played(execution_length):
    with pytest.raises(UserError, match="execution_length"):
        RecedingHorizonControl(CountingEnv(), 3, 50, execution_length)
