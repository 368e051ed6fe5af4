"""The policy on the robot against the same policy in training's own evaluation environment."""

import numpy as np
import pytest
import torch
from tiny_snapshot import save_tiny_snapshot

from robobase.errors import UserError
from so101_robobase.evaluation.policy import Policy, load_policy
from so101_robobase.robot.rollout.robot_policy import RobotPolicy

EPISODE = ["env.eval_stage=0", "env.episode_length=40", "env.on_success=continue"]
NOTHING = np.zeros((1, 84, 84), np.uint8), np.zeros(6), np.zeros(6)


class Remembering(Policy):
    """Keeps in `shown` what it is asked about."""

    def act(self, observation):
        self.__dict__.setdefault("shown", []).append({k: v.copy() for k, v in observation.items()})
        return super().act(observation)


@pytest.fixture
def make(tmp_path):
    """make(*overrides) -> (policy, the same on the robot, environment, what the robot's sees)."""
    environments = []

    def made(*overrides, judge=False):
        policy = load_policy(
            save_tiny_snapshot(tmp_path, "env.observation=seg", *EPISODE, *overrides)
        )
        remembering = Remembering(policy.agent, policy.cfg, policy.factory)
        remembering.__dict__["shown"] = shown = []
        env = policy.factory.make_eval_env(policy.cfg)
        environments.append(env)
        robot = RobotPolicy(remembering, env.unwrapped.task.sim.kinematics, judge)
        return policy, robot, env, shown

    yield made
    for env in environments:
        env.close()


def measured(env, observation):
    """What a robot measures where the environment is now."""
    interface = env.unwrapped.task.sim.interface
    return observation["rgb"][-1], interface.joint_pos[0].copy(), interface.joint_vel[0].copy()


def assert_same(shown, observation):
    assert shown.keys() == observation.keys()
    for key, value in observation.items():
        np.testing.assert_array_equal(shown[key], value)
        assert shown[key].dtype == value.dtype


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_it_sees_and_does_what_training_sees_and_does(make, frames):
    policy, robot, env, shown = make(f"frame_stack={frames}")
    differing = 0
    for seed in (0, 1):  # the stack is filled anew as an episode begins
        robot.begin()
        observation, _ = env.reset(seed=seed)
        for _ in range(8):
            action = robot.act(*measured(env, observation)).action
            assert_same(shown.pop(), observation)
            differing += bool((observation["rgb"][0] != observation["rgb"][-1]).any())
            expected = policy.act(observation)
            np.testing.assert_array_equal(action, expected[0].astype(np.float64))
            observation, *_ = env.step(expected)
    assert bool(differing) == (frames > 1)  # or the order would not be tested


SEQUENCES = {
    "whole": ["action_sequence=3", "execution_length=3"],
    "part": ["action_sequence=4", "execution_length=2", "temporal_ensemble=false"],
    "averaged": ["action_sequence=4", "execution_length=1"],
    "part, averaged": ["action_sequence=5", "execution_length=2", "temporal_ensemble_gain=0.5"],
}


@pytest.mark.parametrize("overrides", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_are_played_as_in_training(make, overrides, monkeypatch):
    policy, robot, env, shown = make(*overrides)
    lift, played = env.unwrapped, []
    step = lift.step
    monkeypatch.setattr(lift, "step", lambda action: (played.append(action), step(action))[1])
    for seed in (0, 1):
        robot.begin()
        observation, _ = env.reset(seed=seed)
        for _ in range(5):
            actions = [robot.act(*measured(env, observation)).action]
            # In between, what is measured is not looked at.
            actions += [robot.act(*NOTHING).action for _ in range(policy.cfg.execution_length - 1)]
            assert len(shown) == 1
            assert_same(shown.pop(), observation)
            played.clear()
            observation, *_ = env.step(policy.act(observation))
            np.testing.assert_array_equal(actions, np.array(played, np.float64))


def test_the_critic_is_asked_for_the_return_of_what_is_planned(make):
    policy, robot, env, _ = make(judge=True)
    robot.begin()
    observation, _ = env.reset(seed=0)
    expected = policy.agent.estimate_return(
        {key: torch.from_numpy(value[None]) for key, value in observation.items()},
        torch.from_numpy(policy.act(observation)[None]),
    )
    assert robot.act(*measured(env, observation)).value == pytest.approx(float(expected[0]))


def test_without_a_judge_there_is_no_value(make):
    _, robot, env, _ = make()
    robot.begin()
    observation, _ = env.reset(seed=0)
    assert robot.act(*measured(env, observation)).value is None


def test_warming_up_leaves_no_memory(make):
    _, robot, env, shown = make()
    robot.warm_up()
    assert shown
    shown.clear()
    observation, _ = env.reset(seed=0)
    robot.act(*measured(env, observation))
    assert_same(shown.pop(), observation)


def test_a_policy_of_states_cannot_run(tmp_path):
    policy = load_policy(save_tiny_snapshot(tmp_path, "pixels=false", "env.observation=state"))
    with pytest.raises(UserError, match="a robot cannot measure it"):
        RobotPolicy(policy, None)
