"""A hand that moves an emulated arm without torque, its camera, and the camera's faults."""

import time

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.base import cli
from so101_robobase.robot.emulator.attach import Emulator
from so101_robobase.robot.emulator.faults import CAMERA, Fault
from so101_robobase.robot.emulator.hand import Hand
from so101_robobase.robot.emulator.schedule import make_fault
from so101_robobase.robot.real.wrist_camera import make_camera

ALL = np.ones(6, bool)
LONG = 20.0  # s, for a busy machine


def until(condition):
    ends = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_hand_starts_and_ends_gently_and_holds_the_other_joints():
    hand, present = Hand(), np.arange(6.0)
    hand.guide({2: 5.0}, 2.0, 10.0, present, ALL)
    assert hand.holds.all()
    path = np.array([hand.angles(10 + time) for time in np.linspace(0, 3, 31)])
    np.testing.assert_array_equal(path[0], present)
    np.testing.assert_array_equal(path[-1], [0, 1, 5, 3, 4, 5])
    speed = np.diff(path[:, 2])
    assert speed[0] < 0.2 * speed.max()
    assert (speed >= 0).all()


def test_a_hand_does_not_fight_servos():
    hand = Hand()
    limp = np.array([True, True, False, True, True, True])
    with pytest.raises(ValueError, match="elbow_flex: the servo has torque"):
        hand.guide({2: 0.5}, 1.0, 0.0, np.zeros(6), limp)
    hand.guide({1: 0.5}, 1.0, 0.0, np.zeros(6), limp)
    np.testing.assert_array_equal(hand.holds, limp)
    hand.release_stiff(np.zeros(6, bool))
    assert not hand.holds.any()


@pytest.fixture
def limp(bus):
    """The bus of an arm without torque."""
    from so101_robobase.robot.emulator.protocol import BROADCAST, Instruction, Packet, encode

    with open(bus.port, "wb", buffering=0) as port:
        port.write(encode(Packet(BROADCAST, Instruction.WRITE, bytes([40, 0]))))
    until(lambda: bus.state().limp.all())
    yield bus
    with Emulator(bus.port) as emulator:
        emulator.ask("release_hand")


def test_a_limp_arm_goes_where_it_is_led_stays_there_and_sinks_when_let_go(limp):
    limp.guide({"shoulder_lift": 0.0, "elbow_flex": -0.5, "wrist_flex": 0.4}, 0.5)

    def is_there():
        return np.abs(limp.state().qpos[1:4] - [0.0, -0.5, 0.4]).max() < 0.02

    until(is_there)
    time.sleep(0.5)
    assert is_there()
    assert limp.state().limp.all()
    with Emulator(limp.port) as emulator:
        emulator.ask("release_hand")
        until(lambda: np.abs(emulator.state().qpos[1:4] - [0.0, -0.5, 0.4]).max() > 0.2)


def test_the_command_moves_a_joint_and_refuses_what_no_joint_can(limp, capsys):
    words = ["robot", "emulator", "hand", "--link", limp.port, "--seconds", "0.5"]
    limp.guide({"shoulder_lift": -0.5, "elbow_flex": 0.0}, 0.5)
    assert cli.main([*words, "--joint", "shoulder_pan", "--to", "30"]) == 0
    assert "shoulder_pan 30.0" in capsys.readouterr().out
    assert cli.main([*words, "--joint", "shoulder_pan", "--to", "300"]) == cli.USER_ERROR
    assert "shoulder_pan goes from -110 to 110" in capsys.readouterr().err
    assert cli.main([*words, "--pose", "standing"]) == cli.USER_ERROR
    assert "known: ahead, left_and_down" in capsys.readouterr().err
    assert cli.main([*words, "--joint", "gripper"]) == cli.USER_ERROR
    assert "--joint goes with --to or --by" in capsys.readouterr().err


def test_where_no_emulator_is_the_hand_says_how_to_start_one(tmp_path, capsys):
    words = ["robot", "emulator", "hand", "--link", str(tmp_path / "arm"), "--release"]
    assert cli.main(words) == cli.USER_ERROR
    assert "start one with `so101_robobase robot emulator`" in capsys.readouterr().err


@pytest.mark.parametrize("number", range(len(CAMERA)))
def test_the_state_tells_what_the_camera_suffers(bus, number):
    assert bus.state().camera == 0
    kind = list(CAMERA)[number]
    every = None if kind == "camera_frozen" else 2
    bus.inject(Fault(kind, value=every))
    assert bus.state().camera == number + 1
    assert bus.state().camera_every == (2 if every else 0) or every is None
    bus.clear()
    assert bus.state().camera == 0


def test_a_fault_of_the_camera_is_checked_like_others():
    assert make_fault({"kind": "camera_torn", "value": 2}).amount() == 2
    with pytest.raises(UserError, match=r"value=0\.0 must be from 1 to 100"):
        make_fault({"kind": "camera_torn", "value": 0})


@pytest.mark.slow
def test_an_emulators_camera_is_one_that_can_be_looked_through(bus):
    from so101_robobase.robot.real.check import check_camera
    from so101_robobase.robot.rollout.frame_watch import flaw_of
    from so101_robobase.robot.rollout.picture import Flaw

    camera = make_camera(bus.port, 160, 120, 30)
    camera.open()
    (first, one), (second, other) = camera.grab(), camera.grab()
    assert second > first
    assert one.shape == (120, 160, 3)
    assert not np.array_equal(one, other)
    assert flaw_of(one) is None
    bus.inject(Fault("camera_torn"))
    assert flaw_of(camera.grab()[1]) is Flaw.TORN
    bus.clear()
    bus.inject(Fault("camera_frozen"))
    assert np.array_equal(camera.grab()[1], camera.grab()[1])
    camera.close()
    item = check_camera(make_camera(bus.port, 160, 120, 30))
    assert not item.ok
    assert "the same picture" in item.text or "too old" in item.text
