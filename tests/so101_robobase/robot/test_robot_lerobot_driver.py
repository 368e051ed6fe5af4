"""LeRobot's own driver on emulated servos; each of its hazards has a test."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.emulator.shared import GOAL, LIMP
from so101_robobase.robot.loop.driver import DriverError

pytest.importorskip("lerobot")

from so101_robobase.robot.real.lerobot_driver import NO_TORQUE, LeRobotDriver

STEP = 360 / 4096  # degrees of the encoder
LONGEST = 1.0  # s that a call may take on a busy machine; 0.1 s is what is promised on a free one


@pytest.fixture
def calibration(bus: EmulatedBus, tmp_path: Path) -> Path:
    return bus.write_calibration(tmp_path, "arm")


@pytest.fixture
def driver(bus: EmulatedBus, calibration: Path) -> Iterator[LeRobotDriver]:
    driver = LeRobotDriver(bus.port, calibration)
    yield driver
    bus.clear()
    driver.connect()  # whatever the test left behind, this must be possible
    assert driver.release() == []
    driver.close()


@pytest.fixture(scope="module")
def units(scene) -> Units:
    return Units(Alignment(), scene.model.actuator_ctrlrange)


def truth(bus: EmulatedBus, units: Units) -> np.ndarray:
    """Where the joints are, in servo units."""
    return units.to_servo(bus.state().qpos[:6])


def assert_near(position: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(position, wanted, atol=tolerance, rtol=0)


@pytest.fixture
def in_set_up(bus, driver, monkeypatch):
    """in_set_up(fault): it comes in LeRobot's own set-up of the servos, once.

    `where`: what it comes before.
    """

    def let_come(fault, where="configure_motors"):
        configure, coming = getattr(driver.robot.bus, where), [fault]

        def configure_with_fault(*args):
            if coming:
                bus.inject(coming.pop())
            configure(*args)

        monkeypatch.setattr(driver.robot.bus, where, configure_with_fault)

    return let_come


# connect


def test_connect_holds_the_pose_in_which_the_arm_was_found(bus, driver, units):
    driver.connect()
    found = truth(bus, units)
    time.sleep(0.3)
    assert not bus.state().limp.any()
    assert_near(truth(bus, units), found, 4)


def test_each_servo_has_its_present_position_as_goal_before_it_gets_torque(bus, driver):
    driver.connect()
    driver.write(driver.read().position + 10)  # a goal that must not be gone to at the next connect
    driver.release()
    driver.close()
    time.sleep(0.3)
    before = len(bus.events())
    driver.connect()
    for joint, motor in enumerate(JOINTS):
        events = [event for event in bus.events()[before:] if event["joint"] == joint]
        on = next(i for i, e in enumerate(events) if e["kind"] == LIMP and e["value"] == 0)
        goals = [event for event in events[:on] if event["kind"] == GOAL]
        assert goals, motor
        assert abs(goals[-1]["angle"] - events[on]["angle"]) < 0.05, motor


def test_an_arm_that_is_held_stays_where_it_is_over_a_new_connect(bus, driver, units):
    driver.connect()
    driver.close()  # held
    held = truth(bus, units)
    driver.connect()
    time.sleep(0.3)
    assert_near(truth(bus, units), held, 6)


@pytest.mark.parametrize("at", ["configure_motors", "enable_torque"])
def test_an_interrupt_while_connecting_leaves_torque_off_and_the_port_free(bus, driver, at):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    patched = pytest.MonkeyPatch()
    patched.setattr(driver.robot.bus, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        driver.connect()
    patched.undo()
    assert bus.state().limp.all()
    driver.connect()
    assert not bus.state().limp.any()


def test_a_real_sigint_while_connecting_is_heeded_and_leaves_torque_off(bus, driver):
    """Wherever it strikes: LeRobot hides one that strikes while it sets the servos up."""

    def handle(*_) -> None:
        nonlocal struck
        struck = True
        raise KeyboardInterrupt

    during = 0
    for delay in np.linspace(0.005, 0.08, 16):
        struck = False
        before = signal.signal(signal.SIGINT, handle)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            driver.connect()
            in_time = not struck
            timer.join()
            time.sleep(0.1)
        except KeyboardInterrupt:
            in_time = True
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # where connect failed before it struck
            timer.cancel()
            timer.join()
            signal.signal(signal.SIGINT, before)
        assert in_time, "connect went on as if there had been no SIGINT"
        if not driver.bus.is_open:
            during += 1
            assert bus.state().limp.all()
        driver.release()
        driver.close()
    assert during > 0


def test_a_servo_that_does_not_answer_is_named_and_the_port_is_free_again(bus, driver):
    bus.inject(Fault("dead", servos=[3]))
    for _ in range(2):  # LeRobot's own bus would say that it is connected already
        with pytest.raises(UserError, match=r"elbow_flex \(id 3\) does not answer"):
            driver.connect()
    assert not driver.robot.bus.is_connected
    bus.clear()
    driver.connect()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("brown_out"), "nothing answers on .* start the emulator again"),
        (
            Fault("model", servos=[2]),
            r"shoulder_lift \(id 2\) on .* has model number 1284, not 777",
        ),
        (Fault("firmware", servos=[6]), "different firmware.*gripper 3.9"),
        (Fault("overload", servos=[6]), "gripper complains of overload: "),
        (Fault("unplug"), "port .* does not exist"),
    ],
)
def test_what_is_wrong_with_the_servos_is_said_before_anything_moves(bus, driver, fault, message):
    bus.inject(fault)
    before = len(bus.events())
    with pytest.raises(UserError, match=message) as raised:
        driver.connect()
    assert "\n" not in str(raised.value)
    assert not any(event["kind"] == GOAL for event in bus.events()[before:])
    assert bus.state().limp.all()


def test_two_drivers_cannot_share_a_port(bus, driver, calibration):
    driver.connect()
    with pytest.raises(UserError, match="is in use by"):
        LeRobotDriver(bus.port, calibration).connect()
    assert_near(driver.read().position, driver.read().position, 3)


# calibration


def test_a_missing_calibration_is_said_before_the_port_is_touched(bus, tmp_path):
    packets = bus.state().packets
    folder = tmp_path / "nowhere"
    with pytest.raises(UserError, match=r"none\.json cannot be read .*lerobot-calibrate"):
        LeRobotDriver(bus.port, id="none", calibration_dir=folder)
    assert not folder.exists()
    assert bus.state().packets == packets


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: file["elbow_flex"].update(homing_offset=7),
            "elbow_flex has offset 7, range .* but its servo keeps offset .*lerobot-calibrate",
        ),
        (
            lambda file: [entry.update(homing_offset=7) for entry in file.values()],
            "another arm",
        ),
        (
            lambda file: file.update(
                shoulder_lift={**file["elbow_flex"], "id": 2},
                elbow_flex={**file["shoulder_lift"], "id": 3},
            ),
            "shoulder_lift and elbow_flex are swapped",
        ),
    ],
)
def test_a_calibration_that_is_not_the_servos_is_refused(bus, driver, calibration, change, message):
    file = json.loads(calibration.read_text())
    change(file)
    other = calibration.with_name("other.json")
    other.write_text(json.dumps(file))
    before = len(bus.events())
    with pytest.raises(UserError, match=message):
        LeRobotDriver(bus.port, other).connect()
    assert len(bus.events()) == before


# reading and writing


def test_it_reads_what_lerobot_reads(bus, driver):
    driver.connect()
    time.sleep(0.3)
    lerobots = driver.robot.get_observation()
    assert_near(driver.read().position, [lerobots[f"{joint}.pos"] for joint in JOINTS], 2 * STEP)


def test_it_sends_what_lerobot_sends(bus, driver):
    driver.connect()
    position = driver.read().position + 1.3

    def sent() -> np.ndarray:
        time.sleep(0.05)
        return bus.commands()["value"][-6:]

    driver.write(position)
    ours = sent()
    driver.robot.send_action(dict(zip([f"{j}.pos" for j in JOINTS], position, strict=True)))
    assert abs(ours - sent()).max() <= 1  # LeRobot cuts off where we round


def test_the_arm_goes_where_it_is_sent_and_says_so(bus, driver, units):
    driver.connect()
    goal = driver.read().position + np.array([8, -8, 8, -8, 8, -8])
    driver.write(goal)
    time.sleep(1.0)
    before = time.monotonic()
    reading = driver.read()
    assert before <= reading.time <= time.monotonic()
    assert_near(reading.position, goal, 5)
    assert_near(reading.position, truth(bus, units), 1)


def test_goals_stay_within_the_calibrated_range(bus, driver):
    driver.connect()
    driver.write(np.full(6, 1000.0))
    time.sleep(0.05)
    ends = [entry["range_max"] for entry in bus.calibration.values()]
    assert bus.commands()["value"][-6:].tolist() == ends


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_goals_that_are_no_numbers_are_refused(bus, driver, bad):
    driver.connect()
    position = driver.read().position
    position[2] = bad
    before = len(bus.commands())
    with pytest.raises(ValueError, match="six finite numbers"):
        driver.write(position)
    with pytest.raises(ValueError, match="six finite numbers"):
        driver.write(np.zeros(5))
    assert len(bus.commands()) == before


def test_a_released_arm_is_not_written_to(bus, driver):
    driver.connect()
    driver.release()
    position = driver.read().position
    before = len(bus.commands())
    with pytest.raises(DriverError, match="no torque"):
        driver.write(position)
    assert len(bus.commands()) == before


# faults


@pytest.mark.parametrize("late", [0.03, 0.06, 0.1, 0.15])
@pytest.mark.parametrize("servo", [1, 6])
def test_a_late_answer_is_never_taken_for_a_new_one(bus, driver, units, late, servo):
    driver.connect()
    bus.inject(Fault("delay", servos=[servo], probability=0.3, value=late))
    fresh = 0
    for seed in range(40):
        bus.begin(seed % 7)
        now = truth(bus, units)
        try:
            reading = driver.read()
        except DriverError:
            continue
        fresh += 1
        assert_near(reading.position, now, 6)
    assert fresh > 0
    bus.clear()
    bus.begin(8)
    assert_near(driver.read().position, truth(bus, units), 6)


def test_lateness_that_lasts_gives_errors_and_no_old_positions(bus, driver, units):
    driver.connect()
    bus.inject(Fault("delay", value=0.11))
    for seed in range(12):
        bus.begin(seed)
        with pytest.raises(DriverError):
            driver.read()
    bus.clear()
    bus.begin(3)
    assert_near(driver.read().position, truth(bus, units), 6)


@pytest.mark.parametrize("kind", ["drop", "corrupt", "truncate", "duplicate", "lose"])
def test_spoilt_packets_give_errors_or_true_positions(bus, driver, units, kind):
    driver.connect()
    bus.inject(Fault(kind, probability=0.1))
    fresh = 0
    for seed in range(40):
        bus.begin(seed % 7)
        now = truth(bus, units)
        began = time.monotonic()
        try:
            reading = driver.read()
        except DriverError:
            continue
        finally:
            assert time.monotonic() - began < LONGEST
        fresh += 1
        assert_near(reading.position, now, 6)
    assert fresh > 0
    bus.clear()
    assert_near(driver.read().position, driver.read().position, 3)


def test_a_lost_answer_is_asked_for_again(bus, driver):
    driver.connect()
    bus.inject(Fault("drop", count=1))
    driver.read()
    assert driver.bus.failures == 1


def test_an_answer_that_comes_twice_is_passed_over_and_told(bus, driver, units):
    driver.connect()
    driver.retried()
    bus.inject(Fault("duplicate", servos=[2, 5]))
    for _ in range(5):
        assert_near(driver.read().position, truth(bus, units), 5)
    assert driver.bus.failures == 0
    told = driver.retried()
    assert len(told) == 10
    assert "twice from shoulder_lift" in told[0]


def test_complaints_do_not_stop_reading_and_are_named(bus, driver):
    driver.connect()
    driver.read()
    assert driver.alarms == {}
    bus.inject(Fault("overheat", servos=[4], value=85))
    time.sleep(0.05)
    driver.read()
    assert driver.alarms == {"wrist_flex": ("overheat",)}
    health = driver.health(3)
    assert (health.motor, health.temperature, health.errors) == ("wrist_flex", 85, ("overheat",))
    assert driver.health(2).errors == ()


def test_health_takes_one_transaction(bus, driver):
    driver.connect()
    driver.read()
    packets = bus.state().packets
    health = driver.health(0)
    time.sleep(0.05)
    assert bus.state().packets == packets + 1
    assert health.voltage == pytest.approx(7.4)
    assert 20 < health.temperature < 60
    assert -1 <= health.load <= 1


def test_torque_that_was_lost_is_noticed(bus, driver):
    driver.connect()
    bus.inject(Fault("brown_out", duration=0.1))
    time.sleep(0.3)
    assert driver.health(0).errors == (NO_TORQUE,)


def test_servos_that_had_lost_torque_can_be_connected_anew(bus, driver):
    driver.connect()
    bus.inject(Fault("brown_out", duration=0.1))
    time.sleep(0.3)
    driver.read()
    assert all(NO_TORQUE in names for names in driver.alarms.values())
    driver.close()
    driver.connect()
    driver.read()
    assert driver.alarms == {}


def test_a_port_that_comes_back_is_used_again(bus, driver):
    driver.connect()
    bus.inject(Fault("unplug"))
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(DriverError, match=r"port .* failed"):
            driver.read()
        assert time.monotonic() - began < LONGEST
    assert driver.release() == list(JOINTS)
    bus.clear()
    time.sleep(0.05)
    assert_near(driver.read().position, driver.read().position, 3)
    assert driver.release() == []
    assert bus.state().limp.all()


def test_nothing_takes_long_where_nobody_answers(bus, driver):
    driver.connect()
    position = driver.read().position
    bus.inject(Fault("brown_out"))
    for call in (driver.read, lambda: driver.health(2)):
        began = time.monotonic()
        with pytest.raises(DriverError):
            call()
        assert time.monotonic() - began < LONGEST
    began = time.monotonic()
    driver.write(position)
    assert driver.release() == list(JOINTS)
    assert time.monotonic() - began < 2 * LONGEST


# release


@pytest.mark.parametrize("kind", ["overload", "overheat", "overcurrent", "angle", "low_voltage"])
def test_torque_goes_off_in_servos_that_complain(bus, driver, kind):
    driver.connect()
    bus.inject(Fault(kind, servos=[1]))
    time.sleep(0.05)
    assert driver.release() == []
    bus.clear()
    time.sleep(0.05)  # those that gave way would hold again, had they not been told
    assert bus.state().limp.all()


def test_a_dead_servo_keeps_no_other_from_being_released(bus, driver):
    driver.connect()
    bus.inject(Fault("dead", servos=[2]))
    assert driver.release() == ["shoulder_lift"]
    assert bus.state().limp.all()


def test_release_does_not_depend_on_cameras(bus, driver):
    class DeadCamera:
        is_connected = False

        def disconnect(self) -> None:
            raise RuntimeError

    assert driver.robot.cameras == {}
    driver.connect()
    driver.robot.cameras["wrist"] = DeadCamera()
    with pytest.raises(ConnectionError):
        driver.robot.disconnect()  # what must not be used
    assert driver.release() == []
    assert bus.state().limp.all()
    del driver.robot.cameras["wrist"]


def test_release_names_every_servo_that_may_have_torque(bus, driver):
    for probability in (0.2, 0.5, 0.9):
        driver.connect()
        bus.inject(Fault("lose", probability=probability))
        unconfirmed = driver.release()
        bus.clear()
        time.sleep(0.05)
        with_torque = {m for m, limp in zip(JOINTS, bus.state().limp, strict=True) if not limp}
        assert with_torque <= set(unconfirmed)
        driver.release()
        driver.close()


def test_a_cable_pulled_during_set_up_leaves_servos_that_release_still_names(
    bus, driver, in_set_up
):
    in_set_up(Fault("unplug", duration=0.5))
    with pytest.raises((UserError, DriverError)):
        driver.connect()
    for _ in range(2):
        assert driver.release() == list(JOINTS)
    time.sleep(0.6)
    driver.connect()
    assert driver.release() == []
    driver.close()
    assert driver.release() == []


def test_torque_goes_off_on_a_line_that_loses_most_of_what_is_sent(bus, driver):
    for _ in range(4):
        driver.connect()
        bus.inject(Fault("lose", probability=0.85))
        driver.release()
        assert bus.state().limp.all()
        bus.clear()
        driver.close()


def test_release_and_close_may_be_called_at_any_time(bus, calibration):
    driver = LeRobotDriver(bus.port, calibration)
    assert driver.release() == []
    driver.close()
    driver.connect()
    for _ in range(2):
        assert driver.release() == []
    for _ in range(2):
        driver.close()
    with pytest.raises(DriverError, match="closed"):
        driver.read()


def test_close_leaves_torque_as_it_is(bus, driver):
    driver.connect()
    driver.close()
    assert not bus.state().limp.any()


def test_an_interrupt_while_releasing_waits_until_all_is_off(bus, driver, monkeypatch):
    driver.connect()
    asked = driver._torque_is_on

    def interrupted(id_: int) -> bool:
        monkeypatch.setattr(driver, "_torque_is_on", asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_torque_is_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        driver.release()
    assert bus.state().limp.all()


# arguments


def test_file_or_id_but_not_both():
    with pytest.raises(UserError, match="either"):
        LeRobotDriver("/dev/ttyACM0")


def test_an_id_is_looked_up_in_lerobots_folder(bus, calibration):
    driver = LeRobotDriver(bus.port, id="arm", calibration_dir=calibration.parent)
    assert driver.robot.calibration_fpath == calibration


def test_a_question_that_was_asked_again_is_told(bus: EmulatedBus, driver: LeRobotDriver):
    driver.connect()
    driver.retried()
    driver.read()
    assert driver.retried() == []
    bus.inject(Fault("drop", servos=[4], count=1))
    driver.read()
    assert ["wrist_flex" in told for told in driver.retried()] == [True]
    assert driver.retried() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", count=1),
        Fault("lose", count=1),
        Fault("corrupt", count=1),
        Fault("truncate", count=1),
        Fault("delay", count=1, value=0.06),
        Fault("duplicate", servos=[3], count=1),
    ],
    ids=lambda fault: fault.kind,
)
def test_what_lerobot_puts_right_in_silence_while_it_sets_servos_up_is_told(
    driver, in_set_up, fault
):
    driver.connect()
    driver.read()
    driver.retried()
    driver.close()
    driver.connect()
    driver.read()
    assert driver.retried() == []
    driver.close()
    in_set_up(fault)
    driver.connect()
    driver.read()
    assert driver.retried() != []


@pytest.mark.parametrize("where", ["disable_torque", "configure_motors", "enable_torque"])
def test_a_servo_that_dies_during_set_up_is_not_waited_for_again_and_again(
    bus, driver, in_set_up, where
):
    in_set_up(Fault("dead", servos=[2]), where)
    with pytest.raises(UserError, match="could not be set up"):
        driver.connect()
    assert sum("to LeRobot" in told for told in driver.retried()) == 2  # 50 ms each
    others = np.arange(6) != 1
    assert bus.state().limp[others].all()
