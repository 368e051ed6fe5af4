"""When the loop may go on, must hold, must stop; and why, in words."""

from dataclasses import fields

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.loop.driver import MotorHealth
from so101_robobase.robot.safety.monitor import (
    ALLOWED,
    GO,
    HOLD,
    STOP,
    Monitor,
    MonitorLimits,
)

TICK = 0.02


def health(motor="elbow_flex", temperature=35.0, voltage=7.2, load=0.3, errors=()):
    return MotorHealth(motor, temperature, voltage, load, errors)


class Loop:
    """Feeds a monitor as the control loop does, all well unless told otherwise."""

    def __init__(self, limits=None):
        self.monitor = Monitor(limits)
        self.tick = 0
        self.motors = {joint: health(joint) for joint in JOINTS}
        for _ in range(40):
            self.run()

    @property
    def now(self):
        return self.tick * TICK

    def run(self, ok=True, late=0.0, frame=True, tell=True):
        """One tick; returns the verdict."""
        self.tick += 1
        monitor = self.monitor
        monitor.on_tick(late)
        monitor.on_reading(ok, self.now)
        if frame:
            monitor.on_frame(self.now - 0.05)
        if tell and self.tick % 5 == 0:
            monitor.on_health(list(self.motors.values())[self.tick // 5 % 6])
        return monitor.verdict(self.now + 0.002)

    def until(self, kind, seconds, **events):
        """s until the first verdict of `kind`, and its reason; fails if there is none."""
        for ticks in range(1, round(seconds / TICK) + 1):
            verdict = self.run(**events)
            if verdict.kind == kind:
                return ticks * TICK, verdict.reason
        raise AssertionError(f"no {kind} within {seconds} s")


@pytest.fixture
def loop():
    return Loop()


def test_all_is_well_for_a_minute(loop):
    for _ in range(3000):
        assert loop.run() == (GO, "")


def test_before_the_first_reading_nothing_may_move():
    assert Monitor().verdict(0.0).kind == HOLD


def test_one_missed_reading_holds_two_stop(loop):
    kind, reason = loop.run(ok=False)
    assert kind == HOLD
    assert reason == "the arm does not answer; joint state is 22 ms old"
    assert loop.run(ok=False).kind == STOP


def test_after_a_missed_reading_the_loop_goes_on(loop):
    for _ in range(20):
        assert loop.run(ok=False).kind == HOLD
        assert loop.run().kind == GO


def test_an_old_reading_that_came_late_holds_and_stops(loop):
    loop.monitor.on_reading(True, loop.now)
    assert loop.monitor.verdict(loop.now + 0.019).kind == GO
    assert loop.monitor.verdict(loop.now + 0.021).kind == HOLD
    kind, reason = loop.monitor.verdict(loop.now + 0.041)
    assert (kind, reason) == (STOP, "joint state is 41 ms old")


def test_a_camera_that_hangs_holds_then_stops(loop):
    held, reason = loop.until(HOLD, 1, frame=False)
    assert held == pytest.approx(0.16, abs=0.021)  # the newest frame was 50 ms old
    assert "camera frame is" in reason
    stopped, reason = loop.until(STOP, 1, frame=False)
    assert held + stopped == pytest.approx(0.46, abs=0.021)
    assert "camera frame is" in reason


def test_a_camera_that_comes_back_lets_the_loop_go_on(loop):
    loop.until(HOLD, 1, frame=False)
    assert loop.run().kind == GO


def test_frames_do_not_matter_while_they_are_not_watched(loop):
    loop.monitor.watch_frames(False)
    for _ in range(100):
        assert loop.run(frame=False).kind == GO
    loop.monitor.watch_frames(True)
    assert loop.run(frame=False).kind == GO  # their age counts from here
    loop.until(STOP, 0.6, frame=False)


def test_a_frame_that_never_comes_stops():
    monitor = Monitor()
    verdicts = []
    for tick in range(40):
        monitor.on_reading(True, tick * TICK)
        verdicts.append(monitor.verdict(tick * TICK).kind)
    assert verdicts[0] == GO
    assert verdicts[-1] == STOP


@pytest.mark.parametrize(
    ("temperature", "kind"), [(59.0, GO), (61.0, HOLD), (66.0, STOP), (np.nan, STOP)]
)
def test_warm_servos_hold_hot_ones_stop(loop, temperature, kind):
    loop.monitor.on_health(health(temperature=temperature))
    verdict = loop.monitor.verdict(loop.now)
    assert verdict.kind == kind
    assert kind == GO or verdict.reason == f"elbow_flex is {temperature:.0f} degrees warm"


def test_a_servo_that_has_cooled_lets_the_loop_go_on(loop):
    loop.monitor.on_health(health(temperature=62.0))
    assert loop.run(tell=False).kind == HOLD
    loop.monitor.on_health(health(temperature=58.0))
    assert loop.run(tell=False).kind == GO


@pytest.mark.parametrize("nominal", [5.0, 7.4, 12.0])
def test_the_supply_of_either_kind_of_arm_is_right(nominal):
    monitor = Monitor()
    monitor.watch_frames(False)
    monitor.on_reading(True, 0.0)
    for motor in JOINTS:
        monitor.on_health(health(motor, voltage=nominal))
    assert monitor.verdict(0.0).kind == GO


@pytest.mark.parametrize(
    ("nominal", "wrong", "words"),
    [
        (7.2, 4.2, "4.2 V, right is 4.5 to 8.4 V"),
        (7.2, 9.1, "9.1 V, right is 4.5 to 8.4 V"),
        (12.1, 8.0, "8.0 V, right is 10 to 13 V"),
        (12.1, 13.5, "13.5 V, right is 10 to 13 V"),
        (7.2, np.nan, "nan V"),
    ],
)
def test_a_wrong_voltage_holds_and_if_it_lasts_stops(loop, nominal, wrong, words):
    loop.monitor = Monitor()
    for joint in JOINTS:
        loop.motors[joint] = health(joint, voltage=nominal)
    for _ in range(40):
        assert loop.run().kind == GO
    loop.motors["wrist_roll"] = health("wrist_roll", voltage=wrong)
    _, reason = loop.until(HOLD, 0.7)
    assert f"wrist_roll has {words}" in reason
    stopped, _ = loop.until(STOP, 2)
    assert stopped == pytest.approx(1.2, abs=0.03)  # asked every 0.6 s


def test_a_supply_that_recovers_lets_the_loop_go_on(loop):
    loop.monitor.on_health(health(voltage=4.3))
    assert loop.run(tell=False).kind == HOLD
    loop.monitor.on_health(health(voltage=5.1))
    assert loop.run(tell=False).kind == GO


def test_a_short_overload_passes_a_lasting_one_holds_and_stops(loop):
    loop.monitor.on_health(health(load=-1.0))
    for _ in range(10):
        assert loop.run(tell=False).kind == GO
    loop.monitor.on_health(health(load=0.2))
    loop.motors["gripper"] = health("gripper", load=-0.98)
    _, reason = loop.until(HOLD, 1.3)
    assert reason == "gripper has been at 98% of its torque for 0.6 s"
    _, reason = loop.until(STOP, 1)
    assert reason == "gripper has been at 98% of its torque for 1.2 s"


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("overload", "is overloaded"),
        ("overheat", "is too hot"),
        ("overcurrent", "draws too much current"),
        ("angle", "has lost its position"),
        ("a new one", "reports a new one"),
    ],
)
def test_what_a_servo_complains_of_stops(loop, complaint, words):
    loop.monitor.on_health(health(errors=(complaint,)))
    assert loop.monitor.verdict(loop.now) == (STOP, f"elbow_flex {words}")


def test_a_complaint_of_the_voltage_holds_first(loop):
    loop.motors["elbow_flex"] = health(errors=("voltage",))
    loop.until(HOLD, 0.7)
    loop.until(STOP, 2)


def test_servos_of_which_nothing_is_heard_hold_then_stop(loop):
    held, reason = loop.until(HOLD, 3, tell=False)
    assert 1.3 < held < 2.1
    assert "no word of how" in reason
    stopped, _ = loop.until(STOP, 3, tell=False)
    assert stopped == pytest.approx(2.0, abs=0.05)


def test_after_a_pause_of_the_whole_loop_servos_have_time_to_tell(loop):
    loop.tick += 1000
    assert loop.run().kind == HOLD
    for _ in range(40):
        loop.run()
    assert loop.run().kind == GO


def test_one_late_tick_holds_five_in_succession_stop(loop):
    assert loop.run(late=0.015).kind == GO
    verdict = loop.run(late=0.03)
    assert (verdict.kind, verdict.reason) == (HOLD, "the loop is 30 ms late")
    assert loop.run().kind == GO
    for _ in range(4):
        assert loop.run(late=0.03).kind == HOLD
    verdict = loop.run(late=0.03)
    assert (verdict.kind, verdict.reason) == (STOP, "the loop was late 5 times in succession")


def test_a_policy_that_has_diverged_stops(loop):
    bad = np.array([0.1, np.nan])
    for _ in range(4):
        loop.monitor.on_action(bad)
        assert loop.run().kind == GO
    loop.monitor.on_action(np.zeros(2))
    for _ in range(4):
        loop.monitor.on_action(-np.inf * bad)
        assert loop.run().kind == GO
    loop.monitor.on_action(bad)
    assert loop.run() == (STOP, "the policy gave nan or inf 5 times in succession")


def test_a_stop_is_for_good(loop):
    first = loop.until(STOP, 1, ok=False)[1]
    for _ in range(10):
        assert loop.run() == (STOP, first)


def test_the_worst_of_several_troubles_counts_and_all_of_its_kind_are_told(loop):
    loop.monitor.on_health(health("gripper", temperature=61))
    loop.monitor.on_health(health("wrist_roll", temperature=62))
    verdict = loop.run(tell=False)
    assert verdict.kind == HOLD
    assert "gripper is 61" in verdict.reason
    assert "wrist_roll is 62" in verdict.reason
    loop.monitor.on_health(health("elbow_flex", temperature=70))
    assert loop.run(tell=False) == (STOP, "elbow_flex is 70 degrees warm")


# Limits


@pytest.mark.parametrize("name", [item.name for item in fields(MonitorLimits)])
def test_no_limit_can_be_switched_off(name):
    low, high = ALLOWED[name]
    default = getattr(MonitorLimits(), name)
    for value in (low - 1, high + 1, np.nan, np.inf, None):
        given = (value,) * len(default) if isinstance(default, tuple) else value
        with pytest.raises(UserError, match=rf"monitor\.{name}=.* is not allowed; give .* from"):
            MonitorLimits(**{name: given})


def test_holding_comes_before_stopping():
    with pytest.raises(UserError, match="frame_hold must not be above"):
        MonitorLimits(frame_stop=0.1)


def test_a_number_of_ticks_is_whole():
    with pytest.raises(UserError, match=r"late_ticks=2\.5 is not allowed; give a whole number"):
        MonitorLimits(late_ticks=2.5)


def test_tightened_limits_are_followed():
    loop = Loop(MonitorLimits(late_ticks=2, temperature_hold=40, temperature_stop=50))
    loop.monitor.on_health(health(temperature=45))
    assert loop.run(tell=False).kind == HOLD
    loop.run(late=0.03)
    assert loop.run(late=0.03).kind == STOP


@pytest.mark.parametrize("complaint", ["overload", "overheat", "overcurrent", "angle"])
def test_a_complaint_in_any_answer_stops_at_once(complaint):
    loop = Loop()
    loop.monitor.on_alarms({"gripper": (complaint,)})
    assert loop.run().kind == STOP
    assert "gripper" in loop.run().reason


def test_a_complaint_about_the_voltage_holds_and_then_stops():
    loop = Loop()
    alarms = {"elbow_flex": ("voltage",)}
    kinds = []
    for _ in range(60):
        loop.monitor.on_alarms(alarms)
        kinds.append(loop.run().kind)
    assert kinds[0] == HOLD
    assert kinds[-1] == STOP
    assert 0.9 < kinds.index(STOP) * TICK < 1.1

    passing = Loop()
    passing.monitor.on_alarms(alarms)
    assert passing.run().kind == HOLD
    passing.monitor.on_alarms({})
    assert passing.run().kind == GO
