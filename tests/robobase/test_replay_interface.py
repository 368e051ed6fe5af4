"""What code written for RoboBase's uniform buffer relies on."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from robobase.envs.env import Demo, DemoEnv
from robobase.errors import UserError
from robobase.replay_buffer import UniformReplayBuffer
from robobase.replay_buffer.uniform_replay_buffer import episode_len, load_episode, save_episode
from robobase.utils import add_demo_to_replay_buffer

FRAME = (1, 4, 4)


def stacked_space(stack, **more):
    spaces = {"rgb": gym.spaces.Box(0, 255, (stack, *FRAME), np.uint8)}
    return gym.spaces.Dict({**spaces, **more})


def make_buffer(stack=1, **kwargs):
    options = {
        "batch_size": 2,
        "replay_capacity": 100,
        "action_shape": (1, 2),
        "observation_elements": stacked_space(stack),
    }
    return UniformReplayBuffer(**options | kwargs)


def frame(value):
    return {"rgb": np.full(FRAME, value, np.uint8)}


def add_episode(buffer, length, first=0, reward=1.0, **extras):
    for t in range(length):
        action = np.full(2, t + 1, np.float32)
        buffer.add(frame(first + t), action, reward, t == length - 1, False, **extras)
    buffer.add_final(frame(first + length))


def test_stacks_are_stripped_from_the_spaces():
    buffer = make_buffer(
        stack=3,
        observation_elements=stacked_space(
            3, low_dim_state=gym.spaces.Box(-1, 1, (3, 5), np.float32)
        ),
        action_shape=(4, 2),
    )
    assert (buffer.frame_stack, buffer._frame_stacks) == (3, 3)
    assert (buffer.action_seq, buffer._action_seq_len) == (4, 4)
    assert buffer.observation_elements["rgb"].shape == FRAME
    storage, observations = buffer.get_storage_signature()
    assert set(storage) == {"action", "reward", "terminal", "truncated", "rgb", "low_dim_state"}
    assert set(observations) == {"rgb", "low_dim_state"}
    assert storage["action"].shape == (2,)
    assert storage["low_dim_state"].shape == (5,)
    assert storage["terminal"].type == np.int8


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Dict({"low_dim_state": gym.spaces.Box(0, 1, (4,))}),
        gym.spaces.Dict(
            {"a": gym.spaces.Box(0, 1, (4, 2)), "b": gym.spaces.Box(0, 1, (3, 2))},
        ),
        None,
    ],
)
def test_spaces_without_a_common_stack_are_refused(space):
    with pytest.raises(ValueError, match=r"frame.stack|observation_elements"):
        make_buffer(observation_elements=space)


@pytest.mark.parametrize(
    ("capacity", "nstep", "fits"), [(3, 1, False), (5, 5, False), (8, 4, True), (5, 1, True)]
)
def test_capacity_must_hold_a_stack_and_a_window(capacity, nstep, fits):
    if fits:
        make_buffer(stack=4, replay_capacity=capacity, nstep=nstep)
    else:
        with pytest.raises(ValueError, match="There is not enough capacity"):
            make_buffer(stack=4, replay_capacity=capacity, nstep=nstep)


@pytest.mark.parametrize(("capacity", "fits"), [(3, False), (5, True)])
def test_sequential_capacity_must_hold_a_sequence(capacity, fits):
    options = {"sequential": True, "transition_seq_len": 4, "replay_capacity": capacity}
    if fits:
        make_buffer(**options)
    else:
        with pytest.raises(ValueError, match="There is not enough capacity"):
            make_buffer(**options)


def test_add_counts_transitions_up_to_the_capacity():
    buffer = make_buffer(replay_capacity=5)
    assert buffer.is_empty()
    for i in range(7):
        buffer.add(frame(i), np.zeros(2), 0, 0, 0)
        assert buffer.add_count == i + 1
        assert len(buffer) == min(i + 1, 5)
        assert buffer.is_full() == (i >= 4)
    assert not buffer.is_empty()


def test_wrong_elements_or_shapes_are_refused_and_change_nothing():
    buffer = make_buffer()
    action = np.zeros(2)
    with pytest.raises(ValueError, match="Add expects"):
        buffer.add(frame(0), action, 0, 0, 0, surplus=1)
    with pytest.raises(ValueError, match="Add expects"):
        buffer.add({}, action, 0, 0, 0)
    with pytest.raises(ValueError, match="action has shape"):
        buffer.add(frame(0), np.zeros((1, 2)), 0, 0, 0)
    with pytest.raises(ValueError, match="reward has shape"):
        buffer.add(frame(0), action, np.zeros(1), 0, 0)
    with pytest.raises(ValueError, match="rgb has shape"):
        buffer.add({"rgb": np.zeros((1, *FRAME))}, action, 0, 0, 0)
    assert buffer.add_count == 0


def test_only_an_ended_episode_can_be_closed_and_it_must_be():
    buffer = make_buffer()
    with pytest.raises(ValueError, match="no episode"):
        buffer.add_final(frame(0))
    buffer.add(frame(0), np.zeros(2), 0, False, False)
    with pytest.raises(ValueError, match="neither terminal nor truncated"):
        buffer.add_final(frame(1))
    buffer.add(frame(1), np.zeros(2), 0, False, True)
    with pytest.raises(ValueError, match="add_final"):
        buffer.add(frame(2), np.zeros(2), 0, False, False)
    buffer.add_final(frame(2))
    with pytest.raises(ValueError, match="no episode"):
        buffer.add_final(frame(2))


def test_ended_environments_need_their_final_observation():
    buffer = make_buffer()
    ends = np.array([False, True])
    step = ({"rgb": np.zeros((2, *FRAME), np.uint8)}, np.zeros((2, 2)), np.zeros(2), ends, ~ends)
    with pytest.raises(UserError, match="final_observation"):
        buffer.add_batch(*step)
    assert buffer.add_count == 0


def test_more_environments_than_the_capacity_can_follow_are_refused():
    buffer = make_buffer(replay_capacity=10)
    zeros = np.zeros(6)
    with pytest.raises(UserError, match="6 environment"):
        buffer.add_batch(
            {"rgb": np.zeros((6, *FRAME), np.uint8)}, np.zeros((6, 2)), zeros, zeros, zeros
        )


def test_a_sample_has_the_documented_shapes_and_dtypes():
    buffer = make_buffer(
        stack=3,
        nstep=2,
        action_shape=(4, 2),
        extra_replay_elements=gym.spaces.Dict({"demo": gym.spaces.Box(0, 1, (), np.uint8)}),
    )
    add_episode(buffer, 6, demo=1)
    sample = buffer.sample(batch_size=5)
    layout = {key: (rows.shape, rows.dtype.name) for key, rows in sample.items()}
    assert layout == {
        "rgb": ((5, 3, *FRAME), "uint8"),
        "rgb_tp1": ((5, 3, *FRAME), "uint8"),
        "action": ((5, 4, 2), "float32"),
        "reward": ((5,), "float32"),
        "terminal": ((5,), "int8"),
        "truncated": ((5,), "int8"),
        "discount": ((5,), "float32"),
        "indices": ((5,), "int64"),
        "demo": ((5,), "uint8"),
    }


def test_the_first_frame_is_repeated_at_the_start_of_an_episode():
    buffer = make_buffer(stack=4)
    add_episode(buffer, 6)
    rows = buffer.sample(batch_size=1, indices=[1])["rgb"][0]
    assert np.all(rows[0] == rows[1])
    assert np.all(rows[1] == rows[2])
    assert np.all(rows[2] != rows[3])


def test_windows_are_full_where_the_episode_is_long_enough():
    buffer = make_buffer(nstep=5, gamma=1.0)
    add_episode(buffer, 10, reward=2.0)
    for _ in range(20):
        sample = buffer.sample(32)
        assert np.all(sample["reward"] == 10.0)
        assert np.all(sample["indices"] <= 5)


def test_an_episode_shorter_than_the_window_is_sampled_from_its_start():
    buffer = make_buffer(nstep=5, gamma=0.5)
    add_episode(buffer, 2)
    sample = buffer.sample(3)
    assert sample["reward"].tolist() == [1.5] * 3
    assert sample["discount"].tolist() == [0.25] * 3
    assert sample["terminal"].tolist() == [1] * 3
    assert np.all(sample["rgb_tp1"] == 2)


def test_as_many_indices_as_samples_are_needed():
    buffer = make_buffer()
    add_episode(buffer, 6)
    with pytest.raises(ValueError, match="indices"):
        buffer.sample(batch_size=2, indices=[1])


def test_nothing_can_be_sampled_before_a_window_is_complete():
    buffer = make_buffer()
    with pytest.raises(UserError, match="empty"):
        buffer.sample()
    buffer.add(frame(0), np.zeros(2), 0, False, False)
    with pytest.raises(UserError, match="complete"):
        next(iter(buffer))
    with pytest.raises(UserError, match="no next observation"):
        buffer.sample_single(0)
    with pytest.raises(UserError, match="outside"):
        buffer.sample_single(1)


def test_an_unfinished_episode_is_learnt_from_already():
    buffer = make_buffer(nstep=2)
    for t in range(4):
        buffer.add(frame(t), np.zeros(2), 1.0, False, False)
    assert set(buffer.sample(100)["indices"]) == {0, 1}


def test_an_episode_longer_than_the_buffer_is_no_problem():
    buffer = make_buffer(replay_capacity=8, stack=2)
    add_episode(buffer, 30)
    sample = buffer.sample(100)
    assert set(sample["rgb"][:, 1, 0, 0, 0]) == set(range(23, 30))


def test_iterating_gives_single_samples_that_a_loader_collates():
    buffer = make_buffer(stack=2)
    add_episode(buffer, 10)
    batch = next(iter(DataLoader(buffer, batch_size=7)))
    assert batch["rgb"].shape == (7, 2, *FRAME)
    assert batch["reward"].shape == (7,)
    assert batch["terminal"].dtype == torch.int8
    assert batch["discount"].dtype == torch.float32


def test_batches_are_tensors_of_the_same_samples():
    loaders = [make_buffer(stack=2, seed=3) for _ in range(2)]
    for buffer in loaders:
        add_episode(buffer, 10)
    batch, sample = next(loaders[0].batches("cpu")), loaders[1].sample()
    assert batch.keys() == sample.keys()
    for key, rows in sample.items():
        np.testing.assert_array_equal(batch[key].numpy(), rows)


def test_preprocessing_sees_single_samples():
    def double(sample):
        assert sample["rgb"].shape == (1, *FRAME)
        return sample | {"reward": sample["reward"] * 2}

    buffer = make_buffer(preprocessing_fn=[double, double])
    add_episode(buffer, 3)
    assert buffer.sample()["reward"].tolist() == [4.0, 4.0]


def test_demonstrations_become_episodes():
    action_space = gym.spaces.Box(-1, 1, (2,))
    buffer = make_buffer(
        stack=2,
        action_shape=(4, 2),
        extra_replay_elements=gym.spaces.Dict({"demo": gym.spaces.Box(0, 1, (), np.uint8)}),
    )
    demos = []
    for _ in range(5):
        steps = [(frame(0), {"demo": 1})]
        for t in range(1, 21):
            info = {"demo": 1, "demo_action": np.full(2, t / 20)}
            steps.append((frame(t), 1.0, False, t == 20, info))
        demos.append(Demo(steps))
    env = DemoEnv(demos, action_space, buffer.observation_elements)
    for _ in range(5):
        add_demo_to_replay_buffer(env, buffer)
    assert (buffer.add_count, buffer._num_episodes) == (100, 5)
    buffer._try_fetch()
    episode, start = buffer._sample_episode()
    assert start % 20 == 0
    assert episode_len(episode) == 20
    assert all(len(rows) == 21 for rows in episode.values())
    assert episode["rgb"][:, 0, 0, 0].tolist() == list(range(21))
    assert np.all(episode["demo"][:20] == 1)
    for index in range(20):
        sample = buffer.sample_single(index)
        assert sample["rgb"].shape == (2, *FRAME)
        assert sample["demo"] == 1
        expected = [(index + 1 + k) / 20 if index + k < 20 else 0.0 for k in range(4)]
        np.testing.assert_allclose(sample["action"][:, 0], expected, rtol=1e-6)
    with pytest.raises(UserError, match="replayed"):
        env.reset()


def test_demo_actions_outside_the_action_range_are_refused():
    buffer = make_buffer()
    info = {"demo": 1, "demo_action": np.array([0.0, 1.5])}
    demo = Demo([(frame(0), {"demo": 1}), (frame(1), 0.0, True, False, info)])
    env = DemoEnv([demo], gym.spaces.Box(-1, 1, (2,)), buffer.observation_elements)
    with pytest.raises(AssertionError, match="outside"):
        add_demo_to_replay_buffer(env, buffer)


def test_episodes_can_be_written_and_read(tmp_path):
    buffer = make_buffer()
    add_episode(buffer, 3)
    episode, _ = buffer._sample_episode()
    save_episode(episode, tmp_path / "episode.npz")
    again = load_episode(tmp_path / "episode.npz")
    assert again.keys() == episode.keys()
    for name, rows in episode.items():
        np.testing.assert_array_equal(again[name], rows)


def test_the_sequential_layout_pairs_observations_with_the_action_before():
    buffer = make_buffer(sequential=True)
    episode = {"rgb": np.arange(4), "action": np.arange(1, 5), "reward": np.arange(1, 5)}
    shifted = buffer.convert_episode_layout(episode)
    assert shifted["rgb"].tolist() == [0, 1, 2, 3]
    assert shifted["action"].tolist() == shifted["reward"].tolist() == [0, 1, 2, 3]
    with pytest.raises(NotImplementedError):
        make_buffer().convert_episode_layout(episode)


def test_sequences_run_on_into_other_episodes():
    buffer = make_buffer(
        sequential=True,
        transition_seq_len=4,
        extra_replay_elements=gym.spaces.Dict({"demo": gym.spaces.Box(0, 9, (), np.uint8)}),
    )
    for k in range(3):
        add_episode(buffer, 2, first=10 * k, demo=k)
    sample = buffer.sample(200)
    assert sample["rgb"].shape == (200, 4, *FRAME)
    assert sample["action"].shape == (200, 4, 1, 2)
    assert sample["reward"].shape == sample["terminal"].shape == (200, 4)
    assert sample["demo"].shape == sample["indices"].shape == (200,)
    assert "discount" not in sample
    value = sample["rgb"][:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(sample["is_first"], value % 10 == 0)
    np.testing.assert_array_equal(sample["action"][:, :, 0, 0], value % 10)
    np.testing.assert_array_equal(sample["terminal"], value % 10 == 2)
    follows = (value[:, 1:] == value[:, :-1] + 1) | (value[:, 1:] % 10 == 0)
    assert follows.all()
    assert sample["is_first"].any(axis=1).all()


def test_sequences_need_single_actions():
    with pytest.raises(ValueError, match="action_sequence"):
        make_buffer(sequential=True, action_shape=(2, 2))


def test_shutting_down_twice_is_fine():
    buffer = make_buffer()
    buffer.shutdown()
    buffer.shutdown()
