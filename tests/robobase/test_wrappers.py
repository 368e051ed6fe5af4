"""Wrappers of observations, rewards and actions of single environments."""

import numpy as np
import pytest
from gymnasium import spaces
from wrapper_envs import CountingEnv, NativeCountingEnv, sync_counting_envs

from robobase.envs.vector_compat import final_obs
from robobase.envs.wrappers import (
    AppendDemoInfo,
    ClipReward,
    ConcatDim,
    FrameStack,
    OnehotTime,
    RescaleFromTanh,
    RescaleFromTanhEEPose,
    RescaleFromTanhWithMinMax,
    RescaleFromTanhWithStandardization,
    ScaleReward,
    ShapeRewards,
    TransposeImageCHW,
)
from robobase.errors import UserError

ACTION = np.zeros(2, np.float32)


def test_frame_stack_holds_the_last_frames_newest_last():
    env = FrameStack(CountingEnv(length=50), 3)
    observation, _ = env.reset()
    assert observation["state"].shape == (3, 3)
    assert observation["image"].shape == (3, 4, 6, 2)
    assert observation["image"].dtype == np.uint8
    seen = [observation["state"][:, 0].tolist()]
    for _ in range(4):
        observation, *_ = env.step(ACTION)
        assert env.observation_space.contains(observation)
        seen.append(observation["state"][:, 0].tolist())
    assert seen == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize(
    "make", [lambda: NativeCountingEnv((5, 5)), lambda: sync_counting_envs((5, 5))]
)
def test_vector_frame_stack_ends_an_episode_with_its_own_frames(make):
    env = FrameStack(make(), 5)
    env.reset()
    for _ in range(5):
        observations, *_, infos = env.step(np.zeros((2, 2), np.float32))
    for i in range(2):
        assert final_obs(infos, i)["state"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert not observations["state"].any()


def test_frame_stack_returns_arrays_that_the_caller_owns():
    for env in (FrameStack(CountingEnv(), 2), FrameStack(NativeCountingEnv(), 2)):
        first, _ = env.reset()
        action = np.zeros(env.action_space.shape, np.float32)
        second, *_ = env.step(action)
        before = second["state"].copy()
        first["state"][:] = 77
        third, *_ = env.step(action)
        np.testing.assert_array_equal(second["state"], before)
        assert 77 not in third["state"]


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda: FrameStack(CountingEnv(), 0), "num_stack=0"),
        (lambda: OnehotTime(CountingEnv(), 0), "episode_length=0"),
        (lambda: ConcatDim(CountingEnv(), 2, 0, "x"), "2 axes"),
        (lambda: ConcatDim(CountingEnv(), 1, 0, "image"), "new_name='image'"),
        (lambda: ClipReward(CountingEnv(), 1.0, -1.0), "lower_bound=1.0"),
        (lambda: RescaleFromTanh(CountingEnv(action_bound=np.inf)), "finite"),
        (lambda: RescaleFromTanhWithMinMax(CountingEnv(), {"min": ACTION}), "max"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(wrap, message):
    with pytest.raises(UserError, match=message) as error:
        wrap()
    assert "\n" not in str(error.value)


def test_append_demo_info_marks_only_what_is_unmarked():
    env = AppendDemoInfo(CountingEnv())
    assert env.reset()[1]["demo"] == 0
    env.env.step = lambda action: (None, 0.0, False, False, {"demo": 1})
    assert env.step(ACTION)[-1]["demo"] == 1


class TwoOfEach(CountingEnv):
    """Observations that are not in the alphabetical order of their space."""

    def __init__(self):
        super().__init__()
        vector = spaces.Box(np.array([-2.0, -4.0]), np.array([2.0, 4.0]), dtype=np.float64)
        image = spaces.Box(0, 255, (3, 8, 8), np.uint8)
        self.observation_space = spaces.Dict(
            {"b": vector, "a": vector, "left": image, "right": image}
        )

    def _observation(self):
        return {
            "right": np.full((3, 8, 8), 2, np.uint8),
            "b": np.array([1.0, 3.0]),
            "left": np.full((3, 8, 8), 1, np.uint8),
            "a": np.array([0.0, 2.0]),
        }


def test_concat_dim_joins_in_the_order_of_the_space():
    env = ConcatDim(TwoOfEach(), shape_length=1, dim=0, new_name="low_dim_state")
    observation, _ = env.reset()
    assert set(observation) == {"left", "right", "low_dim_state"}
    assert observation["low_dim_state"].tolist() == [0.0, 2.0, 1.0, 3.0]
    assert observation["low_dim_state"].dtype == np.float32
    assert env.observation_space["low_dim_state"].high.tolist() == [2.0, 4.0, 2.0, 4.0]


@pytest.mark.parametrize("dim", [0, -3])
def test_concat_dim_joins_images_along_channels(dim):
    observation, _ = ConcatDim(TwoOfEach(), 3, dim, "both").reset()
    assert observation["both"].shape == (6, 8, 8)
    assert observation["both"][:, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_concat_dim_of_one_entry_only_renames_it():
    env = ConcatDim(CountingEnv(), 1, 0, "low_dim_state", keys_to_ignore=["goal"])
    observation, _ = env.reset()
    assert observation["low_dim_state"].tolist() == [0, 0, 0]
    assert "state" not in observation


def test_concat_dim_normalises_what_it_has_statistics_for():
    stats = {"mean": {"b": np.array([1.0, 1.0])}, "std": {"b": np.array([2.0, 4.0])}}
    env = ConcatDim(TwoOfEach(), 1, 0, "x", norm_obs=True, obs_stats=stats)
    observation, _ = env.reset()
    assert observation["x"].tolist() == [0.0, 2.0, 0.0, 0.5]
    assert env.observation_space["x"].low.tolist() == [-2.0, -4.0, -1.5, -1.25]
    plain = ConcatDim(TwoOfEach(), 1, 0, "x", norm_obs=False, obs_stats=stats)
    assert plain.reset()[0]["x"].tolist() == [0.0, 2.0, 1.0, 3.0]


def test_onehot_time_counts_and_turns_truncation_into_termination():
    env = OnehotTime(CountingEnv(length=3), 3)
    observation, _ = env.reset()
    assert observation["time"].tolist() == [1, 0, 0, 0, 0]
    assert env.observation_space["time"].shape == (3 + OnehotTime.PADDING,)
    for _ in range(3):
        observation, _, terminated, truncated, _ = env.step(ACTION)
    assert observation["time"].tolist() == [0, 0, 0, 1, 0]
    assert terminated
    assert not truncated


def test_onehot_time_names_an_episode_that_is_too_long():
    env = OnehotTime(CountingEnv(length=9), 2)
    env.reset()
    for _ in range(3):
        env.step(ACTION)
    with pytest.raises(UserError, match="episode_length=2"):
        env.step(ACTION)


def test_transpose_puts_channels_first_and_leaves_the_inner_space_alone():
    inner = CountingEnv()
    env = TransposeImageCHW(inner)
    observation, _ = env.reset()
    assert observation["image"].shape == (2, 4, 6)
    assert env.observation_space["image"] == spaces.Box(0, 255, (2, 4, 6), np.uint8)
    assert inner.observation_space["image"].shape == (4, 6, 2)


def test_reward_modifiers():
    def reward_of(env):
        env.reset()
        return env.step(ACTION)[1]

    assert reward_of(ScaleReward(CountingEnv(), 0.25)) == 0.5
    assert reward_of(ClipReward(CountingEnv(), -1.0, 1.0)) == 1.0
    assert reward_of(ShapeRewards(CountingEnv(), lambda reward: -reward)) == -2.0


SPACE = spaces.Box(-2.0, 2.0, (2,), np.float32)
STATISTICS = {"mean": np.full(2, 0.5), "std": np.full(2, 0.1)}
RANGE = {"min": np.full(2, -0.6), "max": np.full(2, 0.4)}
EDGES = {
    "bounds": (RescaleFromTanh, (SPACE,), 2.0, -2.0),
    "statistics": (RescaleFromTanhWithStandardization, (STATISTICS,), 0.8, 0.2),
    "range": (RescaleFromTanhWithMinMax, (RANGE, 0.2), 0.48, -0.72),
}


@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("shape", [(2,), (4, 2)])
def test_rescaling_maps_the_unit_range_and_back(case, shape):
    rescale, arguments, high, low = EDGES[case]
    ones = np.ones(shape, np.float32)
    for unit, expected in ((ones, high), (-ones, low)):
        action = rescale.transform_from_tanh(unit, *arguments)
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, expected, rtol=1e-6)
        back = rescale.transform_to_tanh(action.astype(np.float64), *arguments)
        assert back.dtype == np.float32
        np.testing.assert_allclose(back, unit, atol=1e-6)


def test_rescaling_gives_the_inner_environment_its_own_units():
    inner = CountingEnv()
    env = RescaleFromTanh(inner)
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    env.reset()
    env.step(np.array([1.0, -0.5], np.float32))
    assert inner.actions[-1].tolist() == [2.0, -1.0]


def test_rescaling_clips_where_the_interface_says_so():
    assert RescaleFromTanh.transform_to_tanh(np.full(2, 9.0), SPACE).tolist() == [1.0, 1.0]
    assert RescaleFromTanh.transform_from_tanh(np.full(2, 2.0), SPACE).tolist() == [4.0, 4.0]
    clipped = RescaleFromTanhWithMinMax.transform_from_tanh(np.full(2, 5.0), RANGE, 0.0)
    np.testing.assert_allclose(clipped, 0.4)


@pytest.mark.parametrize("shape", [(8,), (3, 8)])
def test_end_effector_poses_keep_a_unit_quaternion(shape):
    space = spaces.Box(-2.0, 2.0, (8,), np.float32)
    action = RescaleFromTanhEEPose.transform_from_tanh(np.full(shape, 0.5, np.float32), space)
    np.testing.assert_allclose(np.linalg.norm(action[..., 3:7], axis=-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(action[..., :3], 1.0)
    zero = RescaleFromTanhEEPose.transform_from_tanh(np.zeros(shape, np.float32), space)
    assert not zero.any()
    with pytest.raises(AssertionError):
        RescaleFromTanhEEPose.transform_to_tanh(np.ones(shape), space)
    back = RescaleFromTanhEEPose.transform_to_tanh(action, space)
    assert back.dtype == np.float32
