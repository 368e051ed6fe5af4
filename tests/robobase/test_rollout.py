"""What is counted of the training episodes."""

import numpy as np
import pytest

from robobase.rollout import EpisodeTracker, env_info


def test_env_info_is_the_mean_over_the_environments_that_report():
    infos = {
        "height": np.array([1.0, 3.0]),
        "grasp": np.array([0.5, 0.0]),
        "_grasp": np.array([True, False]),
        "unseen": np.zeros(2),
        "_unseen": np.zeros(2, dtype=bool),
        "task_success": np.ones(2),
        "final_info": {"height": np.ones(2)},
        "_final_info": np.ones(2, dtype=bool),
        "name": np.array(["a", "b"]),
        "pose": np.zeros((2, 3)),
    }
    assert env_info(infos) == {"env_info/height": 2.0, "env_info/grasp": 0.5}


def play(tracker: EpisodeTracker, *steps: tuple[list[bool], list[bool] | None]) -> None:
    for done, success in steps:
        reached = None if success is None else np.array(success)
        tracker.add(np.ones(len(done)), np.array(done), reached)


def test_success_at_any_step_counts_even_where_the_last_step_does_not_report():
    tracker = EpisodeTracker(2)
    play(tracker, ([False, False], [True, False]), ([True, True], None))
    assert tracker.metrics(action_repeat=2) == {
        "episode_reward": 2.0,
        "episode_length": 4.0,
        "episode_success": 0.5,
    }


def test_success_that_nobody_reports_is_no_metric():
    tracker = EpisodeTracker(1)
    play(tracker, ([True], None))
    assert "episode_success" not in tracker.metrics(1)


@pytest.mark.parametrize(("num_envs", "length"), [(2, 3.0), (3, 1.0)])
def test_running_episodes_go_on_with_as_many_environments(num_envs, length):
    saved, loaded = EpisodeTracker(2), EpisodeTracker(num_envs)
    play(saved, *[([False, False], [False, True])] * 2)
    loaded.load_state_dict(saved.state_dict())
    play(loaded, ([True] * num_envs, [False] * num_envs))
    metrics = loaded.metrics(1)
    assert metrics["episode_length"] == length
    assert metrics["episode_success"] == (0.5 if num_envs == 2 else 0.0)
