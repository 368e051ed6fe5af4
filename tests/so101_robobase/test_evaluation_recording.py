"""Claims about what is recorded while episodes are played, on a scripted environment."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from robobase.evaluation import evaluate
from so101_robobase.evaluation.recording import Recorder
from so101_robobase.evaluation.statistics import Episode
from so101_robobase.evaluation.videos import choose
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.simulation import View

LIMIT = 6


class Scripted(gym.vector.VectorEnv):
    """Member playing seed s succeeds at step 1 + s % 4, fails at LIMIT where s % 4 is 3.

    Height after step t is t cm; the jaw angle is -t; qpos is all s + t / 10; rewards are s.
    Each step is 2 control steps.
    """

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space = spaces.Dict(
            low_dim_state=spaces.Box(-99, 99, (2, 18), np.float32),
            rgb=spaces.Box(0, 255, (2, 2, 4, 4), np.uint8),
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = spaces.Box(-1, 1, (1, 6), np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        qpos = np.zeros((num_envs, 13))
        sim = SimpleNamespace(qpos=qpos, view=self._view, cube_pos=np.zeros((num_envs, 3)))
        self.task = SimpleNamespace(sim=sim)

    def reset(self, *, seed=None, options=None):
        self.seeds, self.t = np.array(seed), np.zeros(self.num_envs, int)
        self.task.sim.looks = [Look(exposure=1.0 + s) for s in seed]
        self.task.sim.cube_half_size = self.seeds / 1000
        self.task.sim.cube_pos[:, 0] = self.seeds / 100
        return self._observe(), self._info()

    def step(self, actions):
        self.t += 1
        rewards = self.seeds.astype(float)
        succeeded = self._succeeded()
        done = succeeded | (self.t >= LIMIT)
        final = {
            "final_obs": self._observe(),
            "final_info": {
                **self._info(),
                "qpos": self.task.sim.qpos.copy(),
                "seen_qpos": self.task.sim.qpos - 1,
            },
        }
        self.t[done] = 0
        infos = self._info()
        if done.any():
            infos |= {**final, "_final_obs": done, "_final_info": done}
        return self._observe(), rewards, done, np.zeros_like(done), infos

    def _succeeded(self):
        return (self.seeds % 4 != 3) & (self.t > self.seeds % 4)

    def _info(self):
        return {
            "task_success": self._succeeded().astype(float),
            "cube_z": self.t / 100,
            "max_cube_z": self.t / 100 + 0.001,
            "is_grasping": self.t % 2 == 1,
            "jaw_angle": -self.t.astype(float),
            "gripper_to_cube": 1 - self.t / 100,
            "episode_steps": 2 * self.t,
            "unstable": self.seeds == 7,
        }

    def _view(self, rows):
        sim = self.task.sim
        looks = [sim.looks[row] for row in rows]
        return View(sim.qpos[rows], looks, sim.cube_half_size[rows])

    def _observe(self):
        self.task.sim.qpos[:] = (self.seeds + self.t / 10)[:, None]
        state = np.zeros((self.num_envs, 2, 18), np.float32)
        picture = np.zeros((self.num_envs, 2, 2, 4, 4), np.uint8)
        picture[:, -1] = self.t[:, None, None, None]
        return {"low_dim_state": state, "rgb": picture}


class Still:
    """An agent that does nothing."""

    num_train_envs, device, training, eval_env_running = 1, "cpu", False, False

    def set_eval_env_running(self, value):
        pass

    train = reset = lambda self, *args: None

    def act(self, observations, step, eval_mode):
        return observations["low_dim_state"].new_zeros(len(observations["low_dim_state"]), 1, 6)


def _play(num_episodes, num_envs, num_tracks=0):
    recorder = Recorder(Scripted(num_envs), num_tracks)
    result = evaluate(Still(), recorder, num_episodes, seed=0, step=0, on_step=recorder.on_step)  # type: ignore[arg-type]
    return recorder.episodes(result, seed=0), recorder


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_figures_belong_to_their_episode_whatever_the_number_of_environments(num_envs):
    episodes, _ = _play(8, num_envs)
    assert [episode.seed for episode in episodes] == list(range(8))
    for episode in episodes:
        steps = LIMIT if episode.seed % 4 == 3 else 1 + episode.seed % 4
        assert episode.success == (episode.seed % 4 != 3)
        assert episode.length == 2 * steps
        assert list(episode.cube_z) == [t / 100 for t in range(1, steps + 1)]
        assert list(episode.jaw_angle) == [-t for t in range(1, steps + 1)]
        assert list(episode.is_grasping) == [t % 2 == 1 for t in range(1, steps + 1)]
        assert list(episode.step_reward) == [episode.seed] * steps
        assert episode.reward == episode.seed * steps
        assert episode.max_cube_height == steps / 100 + 0.001
        assert episode.time_to_lift == (0.04 * steps if episode.success else None)
        assert episode.unstable == (episode.seed == 7)
        assert episode.cube_start == (episode.seed / 100, 0)


def test_tracks_hold_every_state_up_to_the_last_and_its_newest_picture():
    episodes, recorder = _play(4, 4, num_tracks=9)
    for episode in episodes:
        track, steps = recorder.tracks[episode.index], episode.length // 2
        poses = np.array(track.qpos)
        assert poses.shape == (steps + 1, 13)
        np.testing.assert_allclose(poses[:, 0], episode.seed + np.arange(steps + 1) / 10)
        assert [picture.max() for picture in track.pictures] == list(range(steps + 1))
        assert track.pictures[0].shape == (2, 4, 4)
        assert len(track.seen) == len(track.qpos)
        np.testing.assert_allclose(track.seen[-1], track.qpos[-1] - 1)  # late, as it was told
        assert track.look == Look(exposure=1.0 + episode.seed)
        assert track.cube_half_size == episode.seed / 1000


def test_only_the_first_successes_and_failures_are_kept_as_tracks():
    episodes, recorder = _play(16, 4, num_tracks=2)
    kept = [episodes[k].success for k in recorder.tracks]
    assert sorted(kept) == [False, False, True, True]


def test_no_tracks_are_kept_when_none_are_wanted():
    assert _play(8, 4, num_tracks=0)[1].tracks == {}


def test_videos_show_successes_and_failures_in_turn():
    episodes = [Episode(k, k, k != 5, 0.0, 2, 0.0) for k in range(8)]
    recorded = dict.fromkeys([0, 1, 2, 5])
    assert [e.index for e in choose(episodes, recorded, 3)] == [0, 1, 5]  # type: ignore[arg-type]
    assert [e.index for e in choose(episodes, recorded, 1)] == [5]  # type: ignore[arg-type]
    assert len(choose(episodes, recorded, 9)) == 4  # type: ignore[arg-type]
