"""What lies in `policies/` still loads and still lifts the cube."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from robobase.evaluation import evaluate
from so101_robobase.evaluation.policy import TRAINED, load_policy

POLICIES = Path(__file__).parents[2] / "policies"
AS_IT_IS = {
    "env.randomization.visual.enabled": False,
    "env.randomization.physical.enabled": False,
    "env.corruption.enabled": False,
}


@pytest.mark.parametrize("name", ["whole_task", "robust"])
def test_shipped_policies_lift_the_cube_from_the_ready_pose(name):
    policy = load_policy(POLICIES / f"{name}_snapshot.pt", overrides=AS_IT_IS)
    assert "parity.json" not in OmegaConf.to_yaml(policy.cfg)  # they need no file beside them
    env = policy.make_env(20)
    result = evaluate(policy.agent, env, 20, seed=3_000_000, step=TRAINED)
    env.close()
    assert all(info["stage"] == 0 for info in result.final_info)
    assert result.success.mean() >= 0.8  # more than 95 %: policies/README.md


def test_what_is_newer_than_a_policy_can_be_asked_of_it():
    older = POLICIES / "whole_task_snapshot.pt"
    assert load_policy(older, overrides={"env.control.floor": 0.002}).cfg.env.control.floor == 0.002


def test_imitation_has_no_critic_to_ask():
    policy = load_policy(POLICIES / "whole_task_snapshot.pt")
    env = policy.make_env(1)
    observation, _ = env.reset(seed=[0])
    assert policy.estimate_return(observation, policy.act(observation)) is None
    env.close()
