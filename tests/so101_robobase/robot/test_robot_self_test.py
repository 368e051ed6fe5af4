"""The test of the joints before the first episode: what it sees, joint by joint."""

import numpy as np
import pytest

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.arm_loop import ArmLoop, Ending
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.rollout.self_test import TURN, Turn, self_test
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig

CONFIG = LiftConfig(stage=0)
START = start_pose(CONFIG)


@pytest.fixture(scope="module")
def body():
    return Body(CONFIG)


class Examined:
    """A simulated arm at the start pose that was tested, with `faults` from the beginning."""

    def __init__(self, body, *faults, pose=START):
        body.begin(0)
        body.sim.qpos[0, :NUM_JOINTS], body.sim.qvel[0, :NUM_JOINTS] = pose, 0
        body.sim.engine.batch.forward()
        driver, self.events, self.said = SimulatedDriver(body), EventLog(), []
        for fault in faults:
            driver.faults.inject(fault, 0.0)
        physics = body.sim.scene.model
        arm = assemble_arm(driver, physics, driver.clock, self.events)
        loop, self.ending, self.turns, self.heights = ArmLoop(arm), Ending(), [], []

        def work():
            arm.monitor.watch_frames(False)
            began = driver.clock.now()
            self.turns = self_test(loop, self.said.append)
            self.seconds = driver.clock.now() - began
            self.left = arm.command

        loop.run(work, self.ending)
        driver.faults.clear()
        driver.connect()

    @property
    def stopped(self):
        return self.ending.stopped or ""


def test_a_healthy_arm_passes_in_under_15_s_and_ends_where_it_began(body):
    tested = Examined(body)
    assert tested.ending.stopped is None
    assert tested.seconds < 15
    np.testing.assert_allclose(tested.left, START, atol=0.005)
    for turn in tested.turns:
        assert abs(turn.told) == TURN[turn.joint]
        assert turn.there[turn.joint] / turn.told == pytest.approx(1, abs=0.05)
        assert turn.back[turn.joint] / turn.told == pytest.approx(-1, abs=0.05)
    assert len(tested.events.events[1]["turned"]) == NUM_JOINTS


@pytest.mark.parametrize("joint", range(NUM_JOINTS))
@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("reversed", None, "the wrong way"),
        ("frozen", None, "stayed"),
        ("gain", 0.5, "turned"),
        ("gain", 1.6, "turned"),
    ],
)
def test_every_joint_that_answers_wrongly_is_named_before_an_episode(
    body, joint, kind, value, words
):
    tested = Examined(body, Fault(kind, servos=[joint + 1], value=value))
    assert tested.stopped.startswith(f"the test of the joints: {JOINTS[joint]} was told to turn")
    assert words in tested.stopped
    assert tested.events.counts["self_test"] == 1


@pytest.mark.parametrize("joint", range(NUM_JOINTS))
def test_a_joint_that_runs_away_stops_the_test(body, joint):
    tested = Examined(body, Fault("runaway", servos=[joint + 1], value=0.3))
    assert JOINTS[joint] in tested.stopped


def test_swapped_joints_are_both_named():
    moved = np.array([0.0, 0, 0.12, 0, 0, 0])
    assert Turn(0, 0.12, moved, -moved).wrong() == (
        "shoulder_pan was told to turn +7 degrees and stayed; elbow_flex turned +7: see whether it "
        "is free, its cable and its servo's id"
    )
    both = np.array([0.12, 0, 0.12, 0, 0, 0])
    assert "cables or servo ids are swapped" in Turn(0, 0.12, both, -both).wrong()


def test_what_it_does_on_the_way_back_counts_too():
    there = 0.12 * np.eye(NUM_JOINTS)[3]
    assert "stayed" in Turn(3, 0.12, there, 0 * there).wrong()
    assert Turn(3, 0.12, there, -there).wrong() is None


def test_backlash_and_sagging_of_a_real_arm_pass():
    told = 0.12
    for joint in range(5):
        there = told * np.eye(NUM_JOINTS)[joint]
        assert Turn(joint, told, there - np.sign(there) * 0.03, -there).wrong() is None


def test_where_there_is_no_room_nothing_moves(body):
    low = np.array([0.0, 0.2, 0.35, 1.17, 1.57, 0.8])
    assert Clearance(body.sim.scene.model)(low).clearance < 0.02
    tested = Examined(body, pose=low)
    assert "there is no room for shoulder_pan to turn" in tested.stopped
    assert np.abs(body.joint_pos - low).max() < 0.02
