"""Class ids and disparity before they become an observation: mistakes belong to the episode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robobase.errors import UserError
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.sim.corruption import CorruptionConfig
from so101_robobase.sim.sight import SightConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.vision.observation import center_crop, resize_nearest, seg_depth

CORRUPTED = CorruptionConfig(enabled=True, boundary=2.0, blobs=5.0)


def make(num_envs=4, **settings):
    return TaskVectorEnv(LiftConfig(image_size=42, num_threads=1, **settings), num_envs)


def play(env, steps=3, seed=0):
    """Pictures (steps + 1, N, 2, H, W) along a rollout of fixed actions."""
    rng = np.random.default_rng(seed)
    pictures = [env.reset(seed=seed)[0]["rgb"]]
    for _ in range(steps):
        pictures.append(env.step(rng.uniform(-1, 1, (env.num_envs, 6)))[0]["rgb"])
    return np.stack(pictures)


@pytest.mark.parametrize("kind", ["seg_depth", "seg"])
def test_corruption_changes_pictures_and_the_same_seed_repeats_them(kind):
    clean, worse = make(observation=kind), make(observation=kind, corruption=CORRUPTED)
    once, again, right = play(worse), play(worse), play(clean)
    assert np.array_equal(once, again)
    wrong = (once != right)[:, :, 0].mean(axis=(0, 2, 3))
    assert (wrong > 0).all()
    assert (wrong < 0.2).all()


def test_a_member_sees_the_same_whatever_their_number():
    four, one = make(4, corruption=CORRUPTED), make(1, corruption=CORRUPTED)
    assert np.array_equal(play(four)[0, :1], play(one)[0])


def test_a_continued_run_sees_what_the_unbroken_one_sees():
    env, other = make(corruption=CORRUPTED), make(corruption=CORRUPTED)
    env.reset(seed=3)
    other.reset(seed=99)
    other.load_state_dict(env.state_dict())
    action = np.zeros((4, 6))
    assert np.array_equal(env.step(action)[0]["rgb"], other.step(action)[0]["rgb"])


def test_ids_can_be_right_while_only_depth_is_worse():
    right, worse = play(make()), play(make(sight=SightConfig(depth="simulated")))
    assert np.array_equal(right[:, :, 0], worse[:, :, 0])
    assert not np.array_equal(right[:, :, 1], worse[:, :, 1])


@pytest.mark.opengl
def test_colours_do_not_depend_on_corruption():
    assert np.array_equal(
        play(make(observation="rgb")), play(make(observation="rgb", corruption=CORRUPTED))
    )


def test_sight_needs_a_camera_with_pixels():
    with pytest.raises(UserError, match=r"sight.camera=\(0, 480\)"):
        SightConfig(camera=(0, 480))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(480, 640), (240, 320), (100, 90), (84, 84)]))
def test_frames_give_the_same_picture_at_once_and_by_way_of_the_simulators_square(seed, shape):
    """The robot hands whole frames to `observation`, the simulator squares of the final size."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 6, (2, *shape), np.uint8)
    disparity = rng.normal(scale=rng.uniform(0.1, 100), size=(2, *shape)).astype(np.float32)
    squares = [resize_nearest(center_crop(picture), 84) for picture in (ids, disparity)]
    assert np.array_equal(seg_depth(ids, disparity), seg_depth(*squares))
