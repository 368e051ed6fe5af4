"""What an audit says of rollouts whose faults are known."""

from dataclasses import replace

import numpy as np
import pytest
from _audit import (
    Findings,
    Read,
    Truth,
    Witness,
    Write,
    judge,
    judge_goals,
)

from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.clearance import Clearance
from so101_robobase.robot.emulator.shared import EVENT, GOAL
from so101_robobase.robot.loop.driver import DriverError, Reading
from so101_robobase.robot.safety.filter import SafetyFilter, SafetyLimits
from so101_robobase.sim.scene import build_scene

START = np.array([0.0, -0.6, 0.2, 1.2, 0.0, 0.5])  # rad, well above the table
TURN = np.array([0.02, 0, 0, 0, 0, 0])  # rad per tick


@pytest.fixture(scope="module")
def safety():
    model = build_scene().model
    return SafetyFilter(SafetyLimits(), model.actuator_ctrlrange, Clearance(model))


@pytest.fixture(scope="module")
def units():
    return Units(Alignment(), build_scene().model.actuator_ctrlrange)


@pytest.fixture
def witness(units):
    """An arm that turns for ten ticks; every command is one tick's turn ahead."""
    witness = Witness(None, None)
    for tick in range(10):
        time, here = 100 + 0.02 * tick, START + tick * TURN
        reading = Reading(time, units.to_servo(here))
        witness.reads.append(Read(Truth(time, here), Truth(time + 0.002, here), reading))
        write = Write(time + 0.005, units.to_servo(here + TURN), tick, False)
        witness.writes.append(write)
    return witness


def goals_of(witness, units, moved=0.0):
    """What servos get of the commands, `moved` rad off."""
    rows = [
        (write.time + 0.001, GOAL, joint, 0, angle + moved)
        for write in witness.writes
        for joint, angle in enumerate(units.to_model(write.position))
    ]
    return np.array(rows, EVENT)


def test_nothing_is_wrong_with_a_rollout_in_which_nothing_is(witness, safety, units):
    found = judge(witness, goals_of(witness, units), safety, units)
    assert found.violations == found.misread == 0
    assert (found.goals, found.commands) == (60, 10)
    assert found.oldest == pytest.approx(0.005)
    assert judge_goals(goals_of(witness, units), safety).violations == 0


def test_goals_that_were_not_sent_are_strays(witness, safety, units):
    assert judge(witness, goals_of(witness, units, moved=0.01), safety, units).stray == 60
    before = goals_of(witness, units)[:1]
    before["time"] = 50
    assert judge(witness, before, safety, units).stray == 1


@pytest.mark.parametrize(
    ("kind", "offset"),
    [
        ("fast", [0.1, 0, 0, 0, 0, 0]),
        ("outside", [0, 0, 0, 3.0, 0, 0]),
        ("low", [0, 1.5, 0, 0, 0, 0]),
    ],
)
def test_a_command_outside_limits_is_found(witness, safety, units, kind, offset):
    write = witness.writes[5]
    position = units.to_servo(units.to_model(write.position) + offset)
    witness.writes[5] = write._replace(position=position)
    found = judge(witness, goals_of(witness, units), safety, units)
    assert getattr(found, kind) >= 1
    assert found.stale == found.stray == 0


def test_goals_alone_tell_of_speed_and_limits(witness, safety, units):
    goals = goals_of(witness, units)
    goals["angle"][goals["joint"] == 3] += np.repeat([0, 3.0], [5, 5])
    found = judge_goals(goals, safety)
    assert found.fast == 1
    assert found.outside == 1  # from then on it only stays there
    assert judge_goals(goals, safety, free=100.05).fast == 0


def test_an_arm_that_is_pushed_may_be_followed_faster(witness, safety, units):
    pushed = START + 10 * TURN + np.array([0, -0.4, 0, 0, 0, 0])
    reading = Reading(100.2, units.to_servo(pushed))
    witness.reads.append(Read(Truth(100.2, pushed), Truth(100.202, pushed), reading))
    follows = pushed + np.array([0, 0.17, 0, 0, 0, 0])
    witness.writes.append(Write(100.205, units.to_servo(follows), 10, False))
    assert judge(witness, goals_of(witness, units), safety, units).fast == 0


def test_late_answers_are_stale_whatever_the_driver_says(witness, safety, units):
    """Every position is that of three ticks before, with a new time."""
    reads = witness.reads
    for tick in range(9, 2, -1):
        old = reads[tick - 3].reading.position
        reads[tick] = reads[tick]._replace(reading=Reading(reads[tick].before.time, old))
    found = judge(witness, goals_of(witness, units), safety, units)
    assert found.stale == 7
    assert found.oldest == pytest.approx(0.045)  # at least: they moved on between two looks


def test_a_command_long_after_the_reading_is_stale(witness, safety, units):
    witness.writes[9] = witness.writes[9]._replace(time=100.3)
    assert judge(witness, goals_of(witness, units), safety, units).stale == 1


def test_positions_that_never_were_are_told_from_old_ones(witness, safety, units):
    spoilt = units.to_servo(START + 9 * TURN + 0.05)
    witness.reads[9] = witness.reads[9]._replace(reading=Reading(100.18, spoilt))
    found = judge(witness, goals_of(witness, units), safety, units)
    assert (found.misread, found.stale) == (1, 0)


def test_findings_add_up():
    both = Findings(stray=1, goals=5, oldest=0.03) + Findings(stray=2, goals=5, oldest=0.01)
    assert both == replace(Findings(), stray=3, goals=10, oldest=0.03)
    assert both.violations == 3


def test_a_witness_keeps_what_failed(units):
    class Broken:
        def read(self):
            raise DriverError("no answer")

        def write(self, position):
            raise DriverError("no port")

        def release(self):
            return ["gripper"]

    witness = Witness(Broken(), lambda: Truth(0.0, START))
    with pytest.raises(DriverError):
        witness.read()
    with pytest.raises(DriverError):
        witness.write(units.to_servo(START))
    assert witness.release() == ["gripper"]
    assert witness.reads[0].reading is None
    assert witness.writes[0].failed
    assert witness.writes[0].read == -1
    assert len(witness.releases) == 1
