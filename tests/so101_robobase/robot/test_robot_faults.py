"""Faults during rollouts with LeRobot's driver on emulated servos: limits hold, torque goes off.

`benchmarks/robot_faults.py` does the same a thousand times, with a policy, and takes the time.
"""

import time

import numpy as np
import pytest
from _audit import Truth, Witness, judge
from empty_scene import Nothing, Table

from robobase.errors import UserError
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.robot.emulator.faults import KINDS, Fault
from so101_robobase.robot.emulator.schedule import draw_schedule
from so101_robobase.robot.emulator.shared import GOAL
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.clock import RealClock
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.rollout.robot_policy import PolicyAction
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.safety.watchdog import WatchdogProcess
from so101_robobase.tasks.lift.config import LiftConfig

pytest.importorskip("lerobot")

from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

SOON = 5.0  # s, for torque to go off on a busy machine; 0.2 s is what is promised on a free one
CONFIG = LiftConfig(stage=0)


class Nodding:
    """A policy that moves the arm to and fro."""

    config = CONFIG

    def begin(self):
        self._step = 0

    def warm_up(self):
        pass

    def act(self, picture, joint_pos, joint_vel):
        self._step += 1
        return PolicyAction(0.5 * np.sin(self._step / np.array([3, 4, 5, 4, 3, 4])), None)


class Trial:
    """One rollout on emulated servos, with `faults` once the arm is connected, and its audit."""

    def __init__(self, bus, model, folder, faults, seconds, before=()):
        self.bus, self.events = bus, EventLog()
        bus.begin(0)
        self._seen = len(bus.events())
        driver = LeRobotDriver(bus.port, bus.write_calibration(folder, "arm"))
        self.witness = Witness(
            driver,
            lambda: Truth(time.monotonic(), bus.state().qpos[:NUM_JOINTS]),
            lambda: bus.inject(*before) if before else None,
        )
        self.arm = assemble_arm(self.witness, model, RealClock(), self.events)

        def start_watchdog():
            bus.inject(*faults)
            return WatchdogProcess(bus.port, IDS, log=folder / "watchdog.log")

        self.rollout = Rollout(
            arm=self.arm,
            stream=Nothing(RealClock()),
            policy=Nodding(),
            workcell=Table(),
            kinematics=Kinematics.from_model(model),
            start=start_pose(CONFIG),
            settings=RolloutSettings(episode_time=seconds),
            start_watchdog=start_watchdog,
            say=lambda line: None,
        )

    def run(self):
        result = self.rollout.run()
        if not self.bus.state().plugged:
            self.bus.clear()
        assert until(lambda: self.bus.state().limp.all()), "torque stayed on"
        return result

    def findings(self):
        events = self.bus.events()[self._seen :]
        goals = events[events["kind"] == GOAL]
        return judge(self.witness, goals, self.arm.safety, self.arm.units)


def connects(driver):
    try:
        driver.connect()
    except UserError:
        return False
    return True


def until(condition, seconds=SOON):
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def attempt(bus, scene, tmp_path):
    """attempt(fault, ..., seconds=1.0, before=()) -> Trial."""

    def build(*faults, seconds=1.0, before=()):
        return Trial(bus, scene.model, tmp_path, faults, seconds, before)

    yield build
    bus.clear()
    driver = LeRobotDriver(bus.port, bus.write_calibration(tmp_path, "arm"))
    assert until(lambda: connects(driver))  # not at once, where a watchdog is still at it
    driver.release()
    driver.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("overload", servos=(2,), start=0.3),
        Fault("unplug", start=0.3),
        Fault("lose", start=0.3, duration=0.4),
        pytest.param(Fault("dead", servos=(3,), start=0.3), marks=pytest.mark.slow),
        pytest.param(Fault("brown_out", start=0.3, duration=0.3), marks=pytest.mark.slow),
    ],
    ids=lambda fault: fault.kind,
)
def test_what_does_not_pass_ends_the_rollout_without_torque(attempt, fault):
    trial = attempt(fault, seconds=20)
    result = trial.run()
    assert result.stopped
    assert trial.events.counts["stop"] == 1
    found = trial.findings()
    assert found.violations == 0, found
    assert found.goals > 0


def test_a_moments_noise_does_no_harm(attempt):
    noise = [Fault(kind, count=1, start=0.3) for kind in ("drop", "corrupt", "duplicate", "delay")]
    trial = attempt(*noise)
    trial.run()
    found = trial.findings()
    assert found.violations == 0, found


@pytest.mark.parametrize("kind", ["model", pytest.param("firmware", marks=pytest.mark.slow)])
def test_another_servo_is_refused_before_anything_moves(attempt, kind):
    trial = attempt(before=[Fault(kind, servos=(4,))])
    with pytest.raises(UserError, match=kind):
        trial.run()
    assert trial.bus.state().limp.all()
    assert trial.findings().goals == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_faults_reach_no_servo_as_a_command_outside_limits(attempt, kind, seed):
    faults = draw_schedule(seed, 3, gap=0.6, kinds=[kind])
    trial = attempt(*faults, seconds=2.5)
    trial.run()
    found = trial.findings()
    assert found.violations == 0, found
