import gymnasium as gym
import numpy as np
import pytest

from robobase.envs.env import Demo, DemoEnv, EnvFactory
from robobase.errors import UserError
from robobase.utils import Demo as SameDemo
from robobase.utils import DemoEnv as SameDemoEnv


def make_demo(length, first=0):
    steps = [(first, {"demo": 1})]
    steps += [(first + t, 1.0, False, t == length, {"demo": 1}) for t in range(1, length + 1)]
    return Demo(steps)


def make_env(*demos):
    box = gym.spaces.Box(-1, 1, (1,))
    return DemoEnv(demos, box, gym.spaces.Dict({"x": box}))


def test_a_demo_is_one_longer_than_its_actions():
    assert len(make_demo(3)) == 4


def test_utils_offers_the_same_classes():
    assert (SameDemo, SameDemoEnv) == (Demo, DemoEnv)


def test_demos_are_replayed_once_in_order_whatever_the_action():
    demos = [make_demo(2), make_demo(1, first=10)]
    env = make_env(*demos)
    assert env.is_demo_env
    assert env.reset() == (0, {"demo": 1})
    assert [env.step(np.zeros(9))[0] for _ in range(2)] == [1, 2]
    assert env.reset(seed=1, options={})[0] == 10
    assert env.step(None) == (11, 1.0, False, True, {"demo": 1})
    assert len(demos[0]) == 3


def test_going_past_the_end_is_an_error():
    env = make_env(make_demo(1))
    with pytest.raises(UserError, match="reset"):
        env.step(None)
    env.reset()
    env.step(None)
    with pytest.raises(UserError, match="over"):
        env.step(None)
    with pytest.raises(UserError, match="replayed"):
        env.reset()


def test_a_demo_env_cannot_render():
    with pytest.raises(NotImplementedError):
        make_env().render()


def test_the_factory_names_what_a_plugin_must_implement():
    factory = EnvFactory()
    assert factory.make_eval_vector_env({}, 4) is None
    calls = [
        lambda: factory.make_train_env({}),
        lambda: factory.make_eval_env({}),
        lambda: factory.collect_or_fetch_demos({}, 3),
        lambda: factory.post_collect_or_fetch_demos({}),
        lambda: factory.load_demos_into_replay({}, None, is_demo_buffer=True),
        lambda: factory.load_demos_into_replay({}, None),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError):
            call()
