"""The buffer against a plain record of what happened, over random histories of many episodes."""

from dataclasses import dataclass, field
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robobase.errors import UserError
from robobase.replay_buffer import UniformReplayBuffer

GAMMA = 0.9


def make_buffer(**kwargs):
    stack = kwargs.pop("frame_stack", 1)
    actions = kwargs.pop("action_seq", 1)
    space = gym.spaces.Dict({"frame": gym.spaces.Box(-np.inf, np.inf, (stack, 1), np.float32)})
    options = {
        "replay_capacity": 1000,
        "gamma": GAMMA,
        "action_shape": (actions, 1),
        "observation_elements": space,
        "seed": 0,
    }
    return UniformReplayBuffer(**options | kwargs)


@dataclass
class Episode:
    """Frames, actions and rewards are named by one number that never repeats."""

    frames: list = field(default_factory=list)  # the final one included once closed
    indices: list = field(default_factory=list)  # serial number of each transition
    terminal: bool = False
    closed: bool = False


class Record:
    """Drives a buffer with N environments and remembers everything."""

    def __init__(self, buffer, num_envs):
        self.buffer, self.num_envs = buffer, num_envs
        self.count, self.next_frame = 0, 1
        self.open = [Episode() for _ in range(num_envs)]
        self.episodes = list(self.open)

    def step(self, ends):
        """One vector step; `ends[i]` is None, "terminal" or "truncated"."""
        n = self.num_envs
        frames = np.arange(self.next_frame, self.next_frame + n)
        finals = frames + n
        self.next_frame += 2 * n
        done = [end is not None for end in ends]
        for i, episode in enumerate(self.open):
            episode.frames.append(int(frames[i]))
            episode.indices.append(self.count + i)
            if done[i]:
                episode.frames.append(int(finals[i]))
                episode.closed, episode.terminal = True, ends[i] == "terminal"
                self.open[i] = Episode()
                self.episodes.append(self.open[i])
        self.count += n
        self.buffer.add_batch(
            {"frame": frames[:, None].astype(np.float32)},
            frames[:, None].astype(np.float32),
            frames.astype(np.float32),
            np.array([end == "terminal" for end in ends]),
            np.array([end == "truncated" for end in ends]),
            {"frame": finals[:, None].astype(np.float32)} if any(done) else None,
        )

    def expected(self, nstep, stack, actions):
        """{row: sample} of every transition that may be drawn."""
        capacity = self.buffer.replay_capacity
        samples = {}
        for episode in self.episodes:
            length = len(episode.indices)
            known = len(episode.frames) - 1  # transitions whose next frame is known
            for t, serial in enumerate(episode.indices):
                oldest = episode.indices[max(0, t - stack + 1)]
                if oldest < self.count - capacity:
                    continue
                full = t + nstep <= known
                short = episode.closed and length < nstep and t == 0
                acted = episode.closed or t + actions - 1 <= known
                if (full or short) and acted:
                    m = min(nstep, length - t) if episode.closed else nstep
                    samples[serial % capacity] = self.sample(episode, t, m, stack, actions)
        return samples

    def sample(self, episode, t, m, stack, actions):
        def frames(end):
            return [episode.frames[max(0, end - k)] for k in range(stack - 1, -1, -1)]

        taken = episode.frames[: len(episode.indices)]
        ended = episode.closed and t + m == len(episode.indices)
        return {
            "frame": frames(t),
            "frame_tp1": frames(t + m),
            "action": [taken[t + k] if t + k < len(taken) else 0 for k in range(actions)],
            "reward": sum(GAMMA**k * taken[t + k] for k in range(m)),
            "discount": GAMMA**m,
            "terminal": int(ended and episode.terminal),
            "truncated": int(ended and not episode.terminal),
        }


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_sample_is_what_happened_and_every_complete_window_can_be_sampled(data):
    draw = data.draw
    num_envs = draw(st.integers(1, 3), "num_envs")
    nstep, stack = draw(st.integers(1, 4), "nstep"), draw(st.integers(1, 4), "stack")
    actions = draw(st.integers(1, 3), "actions")
    capacity = (nstep + stack) * num_envs + draw(st.integers(0, 12), "slack")
    buffer = make_buffer(
        replay_capacity=capacity, nstep=nstep, frame_stack=stack, action_seq=actions
    )
    record = Record(buffer, num_envs)
    end = st.sampled_from([None, None, None, "terminal", "truncated"])
    for _ in range(draw(st.integers(1, 40), "steps")):
        record.step([draw(end) for _ in range(num_envs)])

    expected = record.expected(nstep, stack, actions)
    rows = np.arange(len(buffer))
    starts = rows[buffer._transitions.is_start(rows)]
    assert set(starts.tolist()) == set(expected)
    if not expected:
        with pytest.raises(UserError, match="complete"):
            buffer.sample(4)
        return
    for batch in (buffer.sample(batch_size=len(starts), indices=starts), buffer.sample(8)):
        for i, row in enumerate(batch["indices"]):
            for key, value in expected[int(row)].items():
                np.testing.assert_allclose(batch[key][i].ravel(), np.ravel(value), rtol=1e-5)


@pytest.mark.parametrize("stack", [1, 3])
def test_explicit_windows_are_clamped_at_the_episode_end_for_all_lengths_and_nsteps(stack):
    for length in range(1, 9):
        for nstep in range(1, 9):
            buffer = make_buffer(nstep=nstep, frame_stack=stack)
            record = Record(buffer, 1)
            for t in range(length):
                record.step(["terminal" if t == length - 1 else None])
            batch = buffer.sample(length, np.arange(length))
            for t in range(length):
                m = min(nstep, length - t)
                expected = record.sample(record.episodes[0], t, m, stack, 1)
                for key, value in expected.items():
                    np.testing.assert_allclose(batch[key][t].ravel(), np.ravel(value), rtol=1e-5)


def test_transitions_are_drawn_uniformly_whatever_the_length_of_their_episode():
    buffer = make_buffer(batch_size=1)
    record = Record(buffer, 1)
    for length in (1, 2, 5, 32):
        for t in range(length):
            record.step(["terminal" if t == length - 1 else None])
    n = 40_000
    counts = np.bincount(buffer.sample(n)["indices"], minlength=40)
    expected = n / 40
    chi_square = float(np.sum((counts - expected) ** 2 / expected))
    assert chi_square < 72.1  # 99.9 % quantile with 39 degrees of freedom


def test_rare_starts_are_drawn_uniformly_too():
    buffer = make_buffer(nstep=200)
    record = Record(buffer, 1)
    for _ in range(3):
        for t in range(201):
            record.step(["truncated" if t == 200 else None])
    counts = np.unique(buffer.sample(3000)["indices"], return_counts=True)
    assert counts[0].tolist() == [0, 1, 201, 202, 402, 403]
    assert np.all(np.abs(counts[1] - 500) < 120)


@pytest.mark.parametrize("frame_stack", [1, 3])
def test_adding_step_by_step_and_in_batches_of_one_store_the_same(frame_stack):
    rng = np.random.default_rng(0)
    single, batched = (
        make_buffer(replay_capacity=20, nstep=2, frame_stack=frame_stack) for _ in range(2)
    )
    record = Record(batched, 1)
    for t in range(57):
        frame = record.next_frame
        end = [None, None, "terminal", "truncated"][rng.integers(4)]
        record.step([end])
        arrays = np.array([frame], np.float32)
        single.add({"frame": arrays}, arrays, frame, end == "terminal", end == "truncated")
        if end:
            single.add_final({"frame": arrays + 1})
        assert single.add_count == batched.add_count == t + 1
    assert single._num_episodes == batched._num_episodes
    rows = np.arange(20)
    np.testing.assert_array_equal(
        single._transitions.is_start(rows), batched._transitions.is_start(rows)
    )
    for a, b in zip(single.sample(64).items(), batched.sample(64).items(), strict=True):
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize(("others", "is_kept"), [(7, True), (8, True), (9, False), (15, False)])
def test_an_idle_episode_goes_on_unless_others_overwrote_its_last_frame(others, is_kept):
    buffer = make_buffer(replay_capacity=10, frame_stack=2)
    buffer.add({"frame": np.array([-5.0])}, np.zeros(1), 0.0, False, False)
    record = Record(buffer, 1)
    for _ in range(others):
        record.step([None])
    row = buffer.add_count % 10
    buffer.add({"frame": np.array([-6.0])}, np.zeros(1), 0.0, True, False)
    buffer.add_final({"frame": np.array([-7.0])})
    assert buffer._transitions.is_start(np.array([row]))
    sample = buffer.sample_single(row)
    assert sample["frame"].ravel().tolist() == [-5 if is_kept else -6, -6]
    assert sample["frame_tp1"].ravel().tolist() == [-6, -7]


def test_sequences_never_hold_overwritten_rows():
    rng = np.random.default_rng(0)
    buffer = make_buffer(replay_capacity=14, sequential=True, transition_seq_len=4)
    frame, episodes = 0, {}  # frames of each episode, by its first
    for _ in range(60):
        length = int(rng.integers(1, 6))
        frame += 10
        episodes[frame] = list(range(frame, frame + length + 1))
        for t, value in enumerate(episodes[frame][:-1]):
            arrays = np.array([value], np.float32)
            buffer.add({"frame": arrays}, arrays, value, t == length - 1, False)
        buffer.add_final({"frame": np.array([frame + length])})
        for sequence in buffer.sample(20)["frame"][:, :, 0].astype(int):
            assert sequence.min() >= frame - 14 * 10
            for before, after in pairwise(sequence):
                ended = before == episodes[before // 10 * 10][-1]
                assert after % 10 == 0 if ended else after == before + 1


def test_abandoned_episodes_are_not_joined_to_the_next():
    buffer = make_buffer(nstep=2)
    record = Record(buffer, 2)
    for _ in range(4):
        record.step([None, None])
    buffer.abandon_open_episodes()
    record.open = [Episode(), Episode()]
    record.episodes += record.open
    for _ in range(3):
        record.step([None, None])
    rows = np.arange(len(buffer))
    starts = rows[buffer._transitions.is_start(rows)]
    assert set(starts.tolist()) == set(record.expected(2, 1, 1))


def test_final_frames_take_no_more_room_than_there_are_episodes_in_memory():
    buffer = make_buffer(replay_capacity=20)
    record = Record(buffer, 2)
    for t in range(200):
        record.step(["terminal" if t % 5 == 4 else None] * 2)
    assert buffer._store._final_rows_used <= 20 // 5 + 2
