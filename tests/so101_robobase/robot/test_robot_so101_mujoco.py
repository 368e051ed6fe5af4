"""The simulated arm as a robot of LeRobot's, used by LeRobot's own tools."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lerobot")

from lerobot.robots.utils import make_robot_from_config
from lerobot.utils.errors import DeviceAlreadyConnectedError, DeviceNotConnectedError
from policy_ticks import make_ticks

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.recording.dataset_recorder import DatasetRecorder
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.robot.so101_mujoco import SO101Mujoco, SO101MujocoConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.vision.kinds import KINDS

PACKAGE = "so101_robobase.robot.so101_mujoco"
KEYS = [f"{joint}.pos" for joint in JOINTS]
PAN = np.eye(6)[0]


@pytest.fixture
def make(tmp_path):
    robots = []

    def make_robot(**options):
        options = {"camera": False, "realtime": False, "calibration_dir": tmp_path, **options}
        robots.append(make_robot_from_config(SO101MujocoConfig(**options)))
        return robots[-1]

    yield make_robot
    for robot in robots:
        if robot.is_connected:
            robot.disconnect()


def positions(robot):
    observation = robot.get_observation()
    return np.array([observation[key] for key in KEYS])


def test_keys_are_those_of_so101_follower(make, tmp_path):
    robot = make()
    assert isinstance(robot, SO101Mujoco)
    assert robot.name == robot.config.type == "so101_mujoco"
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

    real = SO101Follower(SO101FollowerConfig(port="none", calibration_dir=tmp_path))
    assert robot.action_features == real.action_features
    assert robot.observation_features == real.observation_features
    assert make(camera=True, camera_height=480).observation_features == {
        **real.observation_features,
        "wrist": (480, 640, 3),
    }


def test_follows_actions_as_the_driver_below_it(make):
    robot = make(seed=3, fps=25)
    robot.connect()
    body = Body(LiftConfig(stage=0))
    body.begin(3)
    driver = SimulatedDriver(body)
    start = driver.read().position
    np.testing.assert_array_equal(positions(robot), start)
    goal = start + np.array([10, -5, 5, 8, -20, 30])
    for _ in range(25):
        sent = robot.send_action(dict(zip(KEYS, goal, strict=True)))
        driver.write(goal)
        driver.clock.wait_until(driver.clock.now() + 1 / 25)
    assert sent == dict(zip(KEYS, goal, strict=True))
    np.testing.assert_allclose(positions(robot), driver.read().position, atol=1e-9)
    assert np.abs(positions(robot) - goal).max() < 3  # degrees; servos sag a little
    again = positions(robot)
    np.testing.assert_array_equal(positions(robot), again)  # looking takes no time


def test_partial_actions_keep_other_goals(make):
    robot = make()
    robot.connect()
    start = positions(robot)
    for _ in range(25):
        robot.send_action({"shoulder_pan.pos": start[0] + 10})
    moved = positions(robot) - start
    assert moved[0] > 8
    assert np.abs(moved[1:]).max() < 3


def test_gripper_is_clamped_to_percent(make):
    robot = make()
    robot.connect()
    for goal, end in ((150, 100), (-50, 0)):
        for _ in range(40):
            robot.send_action({"gripper.pos": goal})
        assert abs(positions(robot)[-1] - end) < 3
        assert 0 <= positions(robot)[-1] <= 100


def test_relative_targets_are_limited(make):
    robot = make(max_relative_target=5)
    robot.connect()
    start = positions(robot)
    sent = robot.send_action({KEYS[0]: start[0] + 30, KEYS[4]: start[4] - 3})
    assert sent == pytest.approx({KEYS[0]: start[0] + 5, KEYS[4]: start[4] - 3})
    robot = make(max_relative_target=dict.fromkeys(JOINTS, 2.0))
    robot.connect()
    goals = dict(zip(KEYS, start - 30, strict=True))
    sent = robot.send_action(goals)
    np.testing.assert_allclose([sent[key] for key in KEYS], start - 2)


def test_time_passes_with_the_clock_on_the_wall(make, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(f"{PACKAGE}.so101_mujoco.time.monotonic", lambda: now[0])
    robot = make(realtime=True)
    robot.connect()
    start = positions(robot)
    robot.send_action({KEYS[0]: start[0] + 10})
    np.testing.assert_array_equal(positions(robot), start)  # none has passed
    now[0] += 0.02
    soon = positions(robot)[0] - start[0]
    now[0] += 1.0
    later = positions(robot)[0] - start[0]
    assert 0 < soon < later
    assert later > 8
    before = robot._driver.clock.now()
    now[0] += 3600
    robot.get_observation()
    assert robot._driver.clock.now() - before == pytest.approx(2.0)  # a pause is not made up for


def test_misuse_is_told(make, tmp_path):
    robot = make()
    with pytest.raises(DeviceNotConnectedError):
        robot.get_observation()
    robot.connect()
    with pytest.raises(DeviceAlreadyConnectedError):
        robot.connect()
    with pytest.raises(ValueError, match="finite"):
        robot.send_action({KEYS[0]: float("nan")})
    for key in ("elbow.pos", "shoulder_pan"):
        with pytest.raises(ValueError, match="not an action"):
            robot.send_action({key: 0.0})
    robot.disconnect()
    assert robot.body.limp.all()
    with pytest.raises(DeviceNotConnectedError):
        robot.send_action({})
    robot.connect()  # and the scene begins anew
    np.testing.assert_allclose(robot.body.qpos, _begun(0))


def _begun(seed):
    body = Body(LiftConfig(stage=0))
    body.begin(seed)
    return body.qpos


def test_camera_frames_are_rgb(make):
    robot = make(camera=True, camera_width=64, camera_height=48)
    try:
        robot.connect()
    except UserError as error:
        pytest.skip(str(error))
    frame = robot.get_observation()["wrist"]
    assert frame.shape == robot.observation_features["wrist"] == (48, 64, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, robot.cameras["wrist"].grab()[1][..., ::-1])


@pytest.fixture
def recorded(tmp_path):
    """A dataset of one episode whose actions turn shoulder_pan, step by step, and nothing else."""
    body = Body(LiftConfig(stage=0))
    start = SimulatedDriver(body).read().position
    recorder = DatasetRecorder(tmp_path / "set", KINDS["seg_depth"], 84, 6, fps=25, say=str)
    recorder.begin(0)
    for index, tick in enumerate(make_ticks(25)):
        recorder.tick(replace(tick, sent=start + index * PAN))
    recorder.end(True, True)
    recorder.close()
    return tmp_path / "set", start


def _arguments(dataset, *more):
    return [
        f"--robot.discover_packages_path={PACKAGE}",
        "--robot.type=so101_mujoco",
        "--robot.camera=false",
        "--robot.realtime=false",
        "--play_sounds=false",
        "--dataset.repo_id=local/set",
        f"--dataset.root={dataset}",
        "--dataset.episode=0",
        *more,
    ]


def test_lerobot_replay_moves_it(recorded, monkeypatch):
    from lerobot.scripts import lerobot_replay

    dataset, start = recorded
    robots = []
    connect = SO101Mujoco.connect

    def remember(robot, *args, **kwargs):
        robots.append(robot)
        connect(robot, *args, **kwargs)

    monkeypatch.setattr(SO101Mujoco, "connect", remember)
    monkeypatch.setattr(sys, "argv", ["lerobot-replay", *_arguments(dataset)])
    lerobot_replay.main()
    (robot,) = robots
    assert not robot.is_connected
    body = Body(LiftConfig(stage=0))
    driver = SimulatedDriver(body)
    for index in range(25):
        driver.write((start + index * PAN).astype(np.float32))
        driver.clock.wait_until(driver.clock.now() + 1 / 25)
    np.testing.assert_allclose(robot.body.joint_pos, body.joint_pos, atol=1e-6)
    assert np.rad2deg(robot.body.joint_pos[0]) - start[0] > 18


@pytest.mark.slow
def test_lerobot_record_records_it(make, tmp_path):
    """With a teleoperator that sways the arm, and the camera's frames as they are asked for."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.scripts import lerobot_record
    from lerobot_sway import SwayConfig

    try:
        make(camera=True, camera_width=64, camera_height=48).connect()
    except UserError as error:
        pytest.skip(str(error))
    settings = lerobot_record.DatasetRecordConfig(
        repo_id="local/swayed",
        single_task="Sway.",
        root=tmp_path / "swayed",
        fps=10,
        episode_time_s=1.5,
        reset_time_s=0,
        num_episodes=2,
        push_to_hub=False,
    )
    robot = SO101MujocoConfig(camera_width=64, camera_height=48, calibration_dir=tmp_path)
    teleop = SwayConfig(calibration_dir=tmp_path)
    lerobot_record.record(
        lerobot_record.RecordConfig(
            robot=robot, dataset=settings, teleop=teleop, play_sounds=False, display_data=False
        )
    )
    dataset = LeRobotDataset("local/swayed", root=tmp_path / "swayed", video_backend="pyav")
    assert dataset.num_episodes == 2
    assert len(dataset) > 4
    assert dataset.meta.robot_type == "so101_mujoco"
    assert dataset[0]["observation.images.wrist"].shape == (3, 48, 64)
    pan = [float(dataset[index]["observation.state"][0]) for index in range(len(dataset))]
    assert np.ptp(pan) > 5


@pytest.mark.slow
def test_lerobot_replay_from_the_command_line(recorded):
    dataset, _ = recorded
    command = [sys.executable, "-m", "lerobot.scripts.lerobot_replay", *_arguments(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    bad = subprocess.run([*command, "--robot.stage=9"], capture_output=True, text=True, timeout=300)
    assert bad.returncode != 0
    assert "stage=9 is unknown" in bad.stderr
