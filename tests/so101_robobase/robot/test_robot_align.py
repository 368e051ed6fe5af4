"""Joint zeros, directions and the gripper's map, measured on simulated arms that are put together
otherwise than the model."""

import argparse
from itertools import pairwise

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, CameraPose, Units, load, save
from so101_robobase.base import cli
from so101_robobase.robot.align import align_joints_command, joint_fit
from so101_robobase.robot.align.joint_fit import (
    OPEN,
    POSES,
    draw_poses,
    fit_joints,
    load_readings,
    measure,
    model_state,
    save_readings,
)
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.real import lerobot_driver
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig

ARM = Alignment((1, -1, 1, -1, -1), (12.0, -7.5, 3.0, 0.0, 41.0), 4.0, 93.0)
CAMERA = CameraPose((0.0, -0.06, -0.02), (0.4, 0.0, 3.1), 70.0)
JOINT_RANGE = build_scene().model.actuator_ctrlrange


def readings(error: float = 0.0, seed: int = 0) -> np.ndarray:
    """What `ARM` reads in the poses, each joint off by a normal `error` (degrees)."""
    scene = build_scene()
    states = np.array([model_state(scene, pose)[:6] for pose in POSES])
    servo = Units(ARM, JOINT_RANGE).to_servo(states)
    return servo + np.random.default_rng(seed).normal(0, error, servo.shape)


class Hands:
    """A person who brings the simulated arm into the pose that is asked for, and may tremble."""

    def __init__(self, driver: SimulatedDriver, unsteady: int = 0):
        self.driver, self.unsteady, self.asked = driver, unsteady, []

    def ask(self, prompt: str) -> str:
        self.asked.append(prompt)
        poses = [pose for pose in POSES if f" {pose.name}:" in prompt]
        if poses:
            self.driver.body.sim.qpos[0] = model_state(self.driver.body.sim.scene, poses[0])
        return ""

    def sleep(self, seconds: float) -> None:
        if self.unsteady:
            self.unsteady -= 1
            self.driver.body.sim.qpos[0, 1] += 0.01


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(joint_fit, "_PICTURE", (64, 64))


@pytest.fixture
def driver():
    return SimulatedDriver(Body(LiftConfig(stage=0)), ARM)


def test_an_arm_that_is_put_together_otherwise_is_measured(driver):
    driver.connect()
    hands = Hands(driver)
    servo = measure(driver, hands.ask, sleep=hands.sleep)
    fit = fit_joints(servo)
    assert fit.alignment.direction == ARM.direction
    np.testing.assert_allclose(fit.alignment.zero, ARM.zero, atol=0.1)  # encoder steps: 0.09
    assert fit.alignment.gripper_closed == pytest.approx(ARM.gripper_closed, abs=0.1)
    assert fit.alignment.gripper_open == pytest.approx(ARM.gripper_open, abs=0.1)
    assert np.abs(fit.residuals).max() < 0.1
    assert len(hands.asked) == len(POSES)
    assert driver.body.limp.all()


def test_an_arm_that_moves_is_asked_again(driver):
    driver.connect()
    hands = Hands(driver, unsteady=30)
    servo = measure(driver, hands.ask, sleep=hands.sleep)
    assert sum("moved" in prompt for prompt in hands.asked) == 2
    assert servo.shape == (len(POSES), 6)


def test_a_few_lost_answers_are_forgiven_and_silence_is_not(driver, monkeypatch):
    driver.connect()
    hands, read, calls = Hands(driver), driver.read, iter(range(10**6))

    def every_third():
        if next(calls) % 3 == 0:
            raise DriverError("no answer")
        return read()

    def never():
        raise DriverError("no answer")

    monkeypatch.setattr(driver, "read", every_third)
    assert np.isfinite(measure(driver, hands.ask, sleep=hands.sleep)).all()
    monkeypatch.setattr(driver, "read", never)
    with pytest.raises(UserError, match=r"does not answer \(no answer\)"):
        measure(driver, hands.ask, sleep=hands.sleep)


def test_nothing_is_measured_while_torque_may_be_on(driver, monkeypatch):
    monkeypatch.setattr(driver, "release", lambda: ["elbow_flex"])
    with pytest.raises(UserError, match="torque may still be on in elbow_flex"):
        measure(driver, lambda prompt: pytest.fail("must not ask"))


@pytest.mark.parametrize("seed", range(5))
def test_errors_of_the_eye_are_averaged(seed):
    fit = fit_joints(readings(3.0, seed))
    assert fit.alignment.direction == ARM.direction
    np.testing.assert_allclose(fit.alignment.zero, ARM.zero, atol=3 * 3.0 / np.sqrt(len(POSES)))
    assert 0.5 < fit.residuals[:, :5].std() < 5


def test_what_was_measured_before_of_camera_and_arm_stays():
    fit = fit_joints(readings(), present=Alignment(camera=CAMERA, arm="mine"))
    assert (fit.alignment.camera, fit.alignment.arm) == (CAMERA, "mine")


def _one_pose_wrong(servo):
    servo[0, 1] += 35


def _not_degrees(servo):
    servo[:, 0] *= 0.6


def _swapped(servo):
    servo[:, [2, 4]] = servo[:, [4, 2]]


def _gripper_left_alone(servo):
    servo[:, 5] = 50.0


def _lost(servo):
    servo[0, 0] = np.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_one_pose_wrong, "shoulder_lift is .* degrees off in pose 'ahead'"),
        (_not_degrees, "shoulder_pan moved 0.60 times as far"),
        (_swapped, "elbow_flex"),
        (_gripper_left_alone, "50.0 closed and 50.0 open"),
        (_lost, "finite numbers"),
    ],
)
def test_readings_that_cannot_be_are_refused(spoil, message):
    servo = readings()
    spoil(servo)
    with pytest.raises(UserError, match=message) as error:
        fit_joints(servo)
    assert "\n" not in str(error.value)


def test_poses_tell_directions_apart_and_are_within_the_models_limits():
    angles = np.array([pose.angles for pose in POSES])
    assert (np.ptp(angles, axis=0) >= 90).all()
    lower, upper = np.rad2deg(JOINT_RANGE[:5]).T
    assert (angles > lower).all()
    assert (angles < upper).all()
    assert 0 < sum(pose.gripper == OPEN for pose in POSES) < len(POSES)


@pytest.mark.opengl
def test_a_picture_of_every_pose_is_drawn(tmp_path):
    from PIL import Image

    paths = draw_poses(build_scene(), tmp_path)
    pictures = [np.asarray(Image.open(path), np.float64) for path in paths]
    assert len(pictures) == len(POSES)
    assert all(np.abs(a - b).mean() > 1 for a, b in pairwise(pictures))


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    align_joints_command.configure(parser)
    return align_joints_command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_fits_readings_of_a_file(tmp_path, capsys):
    save_readings(readings(), tmp_path / "readings.yaml")
    np.testing.assert_allclose(load_readings(tmp_path / "readings.yaml"), readings(), atol=1e-3)
    output = tmp_path / "arm.yaml"
    save(Alignment(camera=CAMERA), output)
    assert _run("--output", output, "--readings", tmp_path / "readings.yaml") == 0
    assert "shoulder_lift" in capsys.readouterr().out
    alignment = load(output)
    assert (alignment.direction, alignment.camera) == (ARM.direction, CAMERA)
    np.testing.assert_allclose(alignment.zero, ARM.zero, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "does not exist"), ("ahead: [1, 2]", "must hold the poses ahead, left_and_down")],
)
def test_readings_of_another_file_are_refused(tmp_path, text, message):
    path = tmp_path / "readings.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        _run("--output", tmp_path / "arm.yaml", "--readings", path)
    assert not (tmp_path / "arm.yaml").exists()


def test_the_command_needs_an_arm_or_readings(tmp_path):
    with pytest.raises(UserError, match="--port and --calibration"):
        _run("--output", tmp_path / "arm.yaml")


def test_the_command_reads_an_arm_through_lerobots_driver(bus, tmp_path, monkeypatch):
    """Nobody moves this arm, which the fit notices; what was read is kept."""
    pytest.importorskip("lerobot")
    from so101_robobase.robot.real.ports import PortLock

    calibration = bus.write_calibration(tmp_path, "arm")
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    output, poses = tmp_path / "arm.yaml", tmp_path / "poses"
    arm = ("--port", bus.port, "--calibration", calibration)
    with pytest.raises(UserError, match="times as far as the poses ask for"):
        _run("--output", output, *arm, "--poses", poses)
    assert not output.exists()
    assert bus.state().limp.all()
    read = Units(Alignment(), JOINT_RANGE).to_model(load_readings(poses / "readings.yaml"))
    np.testing.assert_allclose(read[-1], bus.state().qpos[:6], atol=np.deg2rad(3))
    PortLock(bus.port).release()  # the port is free again


def test_the_command_notes_which_arm_it_measured(tmp_path, monkeypatch):
    """The driver is a simulated one that is put together otherwise than the model."""
    arm = SimulatedDriver(Body(LiftConfig(stage=0)), ARM)
    arm.connect()
    arm.bus = type("Bus", (), {"open": lambda self: None})()
    arm.check_servos = lambda: None
    monkeypatch.setattr(lerobot_driver, "LeRobotDriver", lambda port, calibration: arm)
    monkeypatch.setattr("builtins.input", Hands(arm).ask)
    output = tmp_path / "arm.yaml"
    for name in ("left.json", "right.json"):
        (tmp_path / name).touch()
    command = ("--output", output, "--port", "here", "--poses", tmp_path, "--calibration")
    assert _run(*command, tmp_path / "left.json") == 0
    assert load(output).arm == "left"
    assert load(output).direction == ARM.direction
    with pytest.raises(UserError, match=r"measured on the arm left, .* is of right"):
        _run(*command, tmp_path / "right.json")


@pytest.mark.parametrize("what", ["joints", "camera"])
def test_align_has_a_command_for_each(what, tmp_path, capsys):
    arguments = ["robot", "align", what, "--output", str(tmp_path / "arm.yaml")]
    if what == "camera":
        arguments += ["--frames", str(tmp_path)]
    assert cli.main(arguments) == 2
    expected = {"joints": "give --port and --calibration", "camera": "frames.json cannot be read"}
    assert expected[what] in capsys.readouterr().err
