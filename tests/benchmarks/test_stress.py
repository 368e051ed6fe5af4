"""Claims about what the worst policies make of the safety filter, on the simulated arm."""

import pytest
from _stress import POLICIES, WAYS, stress

from so101_robobase.robot.safety.filter import SafetyFilter, SafetyLimits

SOFT_TABLE = -0.004
"""m, how deep the simulated table lets an arm that hits it: its contacts give way for 20 ms. An arm
that falls on it without any filter comes to -3 mm, one that presses with all its force to -0.6."""


def check(found):
    assert found.not_finite == 0
    assert found.joint_limit_excess <= 1e-9
    assert found.step_excess <= 1e-9
    assert found.lead_excess <= 1e-9
    assert found.violation == 0
    assert found.lowest_command >= SafetyLimits().floor
    assert found.lowest > SOFT_TABLE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_worst_policies_keep_every_limit(policy, way):
    check(stress(policy, way, 200, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_worst_policies_keep_every_limit_for_100_000_ticks(policy, way):
    check(stress(policy, way, -(-100_000 // (len(WAYS) * len(POLICIES)))))


def test_without_limits_the_worst_policy_would_be_seen(monkeypatch):
    monkeypatch.setattr(SafetyFilter, "_placed", lambda self, wanted, here, notes: wanted)
    found = stress("down", "joint_delta", 100)
    assert found.violation > 0.02
    assert found.lowest_command < -0.02
