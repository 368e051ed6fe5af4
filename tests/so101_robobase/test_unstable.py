"""An episode whose physics blows up ends without value, is counted, and is told once."""

import gymnasium as gym
import numpy as np
import pytest

from robobase import evaluation
from robobase.errors import UserError
from robobase.rollout import EpisodeTracker
from so101_robobase.envs import demos
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.robot.simulated.body import Body
from so101_robobase.tasks import task as tasks
from so101_robobase.tasks.lift.config import LiftConfig

HUGE = 1e12  # rad/s: MuJoCo gives up above 1e10
RUNAWAY = 1e6  # rad/s: MuJoCo goes on, no arm does
STATE = LiftConfig(observation="state", stage=3)


@pytest.fixture(autouse=True)
def told_anew(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log
    tasks._tell_once.cache_clear()


def _blow_up(simulated, member=0, speed=HUGE):
    simulated.sim.qvel[member, 1] = speed


@pytest.mark.parametrize("speed", [HUGE, RUNAWAY])
def test_it_ends_terminated_and_earns_nothing(speed):
    env = TaskVectorEnv(STATE, 2)
    env.reset(seed=0)
    _blow_up(env.task, 1, speed)
    _, reward, terminated, truncated, infos = env.step(np.zeros((2, 6), np.float32))
    assert terminated.tolist() == [False, True]
    assert not truncated.any()
    assert reward[1] == 0
    assert infos["final_info"]["unstable"].tolist() == [False, True]
    assert np.isfinite(infos["final_obs"]["low_dim_state"]).all()
    assert np.abs(infos["final_obs"]["low_dim_state"]).max() < 10
    assert infos["final_info"]["max_cube_z"][1] < 0.1
    assert not infos["unstable"].any()  # the next episode has begun
    env.close()


def test_the_other_members_do_not_notice():
    plain, hurt = TaskVectorEnv(STATE, 2), TaskVectorEnv(STATE, 2)
    for env in (plain, hurt):
        env.reset(seed=5)
    _blow_up(hurt.task, 1)
    actions = np.full((2, 6), 0.3, np.float32)
    for _ in range(3):
        a, b = plain.step(actions), hurt.step(actions)
        assert np.array_equal(a[0]["low_dim_state"][0], b[0]["low_dim_state"][0])
        assert a[1][0] == b[1][0]


def test_a_single_environment_does_the_same():
    env = TaskEnv(STATE)
    env.reset(seed=0)
    _blow_up(env.task)
    observation, reward, terminated, truncated, info = env.step(np.zeros(6, np.float32))
    assert (terminated, truncated, reward, info["unstable"]) == (True, False, 0.0, True)
    assert np.isfinite(observation).all()
    _, info = env.reset()
    assert not info["unstable"]
    assert not env.step(np.zeros(6, np.float32))[2]


@pytest.mark.parametrize("on_success", ["continue", "bootstrap", "terminate", "bonus"])
def test_no_way_to_end_on_success_gives_it_a_bonus(on_success):
    config = LiftConfig(observation="state", stage=1, on_success=on_success, hold_steps=1)
    env = TaskVectorEnv(config, 1)
    env.reset(seed=0)
    _blow_up(env.task)
    _, reward, terminated, truncated, infos = env.step(np.zeros((1, 6), np.float32))
    assert (terminated[0], truncated[0], reward[0]) == (True, False, 0)
    assert infos["final_info"]["task_success"][0] == 0


def test_it_is_told_once(capfd):
    env = TaskVectorEnv(STATE, 2)
    env.reset(seed=0)
    for _ in range(3):
        _blow_up(env.task)
        env.step(np.zeros((2, 6), np.float32))
    told = [line for line in capfd.readouterr().err.splitlines() if "blew up" in line]
    assert len(told) == 1
    assert "counted as unstable" in told[0]


@pytest.mark.parametrize("speed", [HUGE, RUNAWAY])
def test_a_simulated_arm_is_not_driven_on(speed):
    body = Body(STATE)
    body.advance(body.joint_pos)
    _blow_up(body, speed=speed)
    with pytest.raises(UserError, match="physics of the simulated arm blew up"):
        body.advance(body.joint_pos)


def test_training_counts_it():
    env, tracker = TaskVectorEnv(STATE, 2), EpisodeTracker(2)
    env.reset(seed=0)
    for hurt in (False, True, True):
        if hurt:
            _blow_up(env.task)
        _, reward, terminated, truncated, infos = env.step(np.zeros((2, 6), np.float32))
        done = terminated | truncated
        tracker.add(reward, done, None, evaluation.unstable(infos, len(done)))
    assert tracker.metrics(1)["unstable_episodes"] == 2
    again = EpisodeTracker(2)
    again.load_state_dict(tracker.state_dict())
    assert again.metrics(1)["unstable_episodes"] == 2


def test_a_demonstration_that_blows_up_is_none(monkeypatch):
    step = TaskVectorEnv.step

    def blow_up_after_success(self, actions):
        for member in np.flatnonzero(self.task.succeeded[:1]):
            _blow_up(self.task, member)
        return step(self, actions)

    monkeypatch.setattr(TaskVectorEnv, "step", blow_up_after_success)
    config = LiftConfig(observation="state", stage=1, on_success="continue", episode_length=60)
    env = TaskVectorEnv(config, 3)
    try:
        assert len(demos._play_wave(env, 0)) == 2
    finally:
        env.close()


def test_the_registered_environment_passes_it_on():
    env = gym.make("so101_robobase/Lift-v0", stage=3)
    env.reset(seed=0)
    _blow_up(env.unwrapped.task)
    *_, terminated, truncated, info = env.step(env.action_space.sample())
    assert (terminated, truncated, info["unstable"]) == (True, False, True)
