"""Recordings of episodes, and their replay in simulation."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, ServoModel, Units, save, to_plain
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.identify import replay_command
from so101_robobase.robot.identify.fit import excitation
from so101_robobase.robot.identify.replay import draw_curves, replay, tracking_error
from so101_robobase.robot.recording.episode_log import EpisodeLog, read, read_dataset
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig

ONES = (1.0,) * 6
SOFT = ServoModel((0.05,) * 6, ONES, (2.0,) * 6, (3.0,) * 6, 0.03)
JOINT_RANGE = build_scene().model.actuator_ctrlrange


def recorded(servos: ServoModel | None, duration: float = 4.0, resolution: float = 0) -> EpisodeLog:
    """What a driver's simulated arm does, from where an episode begins, told every 20 ms."""
    body = Body(LiftConfig(stage=0, scene=SceneConfig(servos=servos)))
    alignment = Alignment(zero=(5.0, -3.0, 0.0, 1.0, 2.0), servos=servos)
    driver = SimulatedDriver(body, alignment, resolution)
    start, cube = body.joint_pos, body.qpos[6:].tolist()
    driver.connect()
    wave = excitation(JOINT_RANGE, duration)
    times, measured = [], []
    commanded = np.clip(start + wave - wave[0], *JOINT_RANGE.T)
    for k, target in enumerate(commanded):
        driver.clock.wait_until(0.02 * k)
        reading = driver.read()
        times.append(reading.time)
        measured.append(driver.units.to_model(reading.position))
        driver.write(driver.units.to_servo(target))
    meta = {"alignment": to_plain(alignment), "control_period": 0.02, "cube": cube}
    return EpisodeLog(np.array(times), np.array(measured), commanded, meta)


def run(command, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(arguments))


@pytest.fixture(scope="module")
def log():
    return recorded(SOFT)


def test_a_recording_comes_back_from_its_file(log, tmp_path):
    log.save(tmp_path / "episode.npz")
    again = EpisodeLog.load(tmp_path / "episode.npz")
    for name in ("times", "measured", "commanded"):
        np.testing.assert_array_equal(getattr(again, name), getattr(log, name))
    assert again.meta == log.meta
    assert [len(entry) for entry in read(tmp_path, Units(Alignment(), JOINT_RANGE))] == [len(log)]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_bytes(b"nothing"), "give an .npz"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut short"), "give an .npz"),
        (lambda path: np.savez(path, times=np.zeros(3)), "has no format, meta, measured"),
        (
            lambda path: np.savez(path, format=np.array([{}], object), meta=1, times=1,
                                  measured=1, commanded=1),
            "cannot be read as NPZ",
        ),
        (
            lambda path: np.savez(path, format=99, meta="{}", times=1, measured=1, commanded=1),
            "format 99",
        ),
        (
            lambda path: np.savez(path, format=1, meta="{}", times=np.arange(3.0),
                                  measured=np.zeros((3, 5)), commanded=np.zeros((3, 6))),
            "measured of an episode has shape (3, 5)",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recording_is_refused_in_one_line(tmp_path, write, message):
    path = tmp_path / "bad.npz"
    write(path)
    with pytest.raises(UserError) as error:
        EpisodeLog.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.array([0.0, 0.02, 0.02])}, "do not rise"),
        ({"times": np.zeros(1)}, "at least 2 ticks"),
        ({"commanded": np.full((3, 6), np.nan)}, "nan"),
    ],
)
def test_arrays_that_are_no_episode_are_refused(change, message):
    arrays = {"times": np.arange(3.0), "measured": np.zeros((3, 6)), "commanded": np.zeros((3, 6))}
    with pytest.raises(UserError, match=message):
        EpisodeLog(**{**arrays, **change})


def test_the_replay_of_ones_own_recording_is_the_recording(log):
    error = tracking_error(log, replay(log))
    assert error.most.max() < 0.1  # degrees; the episode did not begin quite at rest
    assert error.mean.max() < 0.005


def test_times_that_jitter_are_followed(log):
    keep = np.random.default_rng(0).random(len(log)) < 0.9
    keep[:2] = True
    body = Body(LiftConfig(stage=0, scene=SceneConfig(servos=SOFT)))
    ticks = np.flatnonzero(keep)
    measured = []
    for k, now in enumerate(ticks):
        if k:
            body.advance(log.commanded[ticks[k - 1]], 10 * (now - ticks[k - 1]))
        measured.append(body.joint_pos)
    sparse = EpisodeLog(log.times[keep], np.array(measured), log.commanded[keep], log.meta)
    assert tracking_error(sparse, replay(sparse)).mean.max() < 0.005


def test_other_gains_and_another_latency_do_not_follow_the_recording(log):
    own = tracking_error(log, replay(log)).overall
    for servos in (None, replace(SOFT, latency=0.0), replace(SOFT, stiffness=(0.1,) * 6)):
        other = tracking_error(log, replay(log, Alignment(servos=servos))).overall
        assert other > 0.1 > 10 * own


def test_curves_are_drawn(log, tmp_path):
    from PIL import Image

    draw_curves(log, replay(log, Alignment()), tmp_path / "curves.png")
    assert np.asarray(Image.open(tmp_path / "curves.png")).std() > 10


def test_the_command_replays_a_file(log, tmp_path, capsys, monkeypatch):
    log.save(tmp_path / "episode.npz")
    save(Alignment(servos=SOFT), tmp_path / "arm.yaml")
    output = tmp_path / "replay.png"
    arguments = [str(tmp_path / "episode.npz"), "--output", str(output)]
    assert run(replay_command, *arguments, "--alignment", str(tmp_path / "arm.yaml")) == 0
    printed = capsys.readouterr().out
    assert all(joint in printed for joint in JOINTS)
    assert "all joints       0.00" in printed
    assert output.exists()
    monkeypatch.chdir(tmp_path)
    assert run(replay_command, arguments[0]) == 0
    assert len(list(Path("runs/replay").glob("*.png"))) == 1
    with pytest.raises(UserError, match="has episodes 0 to 0"):
        run(replay_command, *arguments, "--episode", "1")


def test_a_dataset_of_lerobot_is_read_as_recordings(log, tmp_path):
    pytest.importorskip("lerobot")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    units = Units(Alignment(zero=(5.0, -3.0, 0.0, 1.0, 2.0)), JOINT_RANGE)
    names = [f"{joint}.pos" for joint in JOINTS]
    feature = {"dtype": "float32", "shape": (6,), "names": names}
    dataset = LeRobotDataset.create(
        "test/arm",
        fps=50,
        root=tmp_path / "arm",
        features={"observation.state": feature, "action": feature},
        use_videos=False,
    )
    for length in (20, 30):
        for k in range(length):
            dataset.add_frame(
                {
                    "observation.state": units.to_servo(log.measured[k]).astype(np.float32),
                    "action": units.to_servo(log.commanded[k]).astype(np.float32),
                    "task": "test",
                }
            )
        dataset.save_episode()
    dataset.finalize()
    logs = read(tmp_path / "arm", units)
    assert [len(entry) for entry in logs] == [20, 30]
    np.testing.assert_allclose(logs[1].times, log.times[:30], atol=1e-6)
    np.testing.assert_allclose(logs[1].measured, log.measured[:30], atol=1e-5)
    np.testing.assert_allclose(logs[1].commanded, log.commanded[:30], atol=1e-5)
    assert logs[1].meta["control_period"] == 0.02
    with pytest.raises(UserError, match="has no episode 7"):
        read_dataset(tmp_path / "arm", units, [7])


def test_a_dataset_of_another_robot_is_refused(tmp_path):
    pytest.importorskip("lerobot")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    feature = {"dtype": "float32", "shape": (2,), "names": ["a.pos", "b.pos"]}
    dataset = LeRobotDataset.create(
        "test/other",
        fps=50,
        root=tmp_path / "other",
        features={"observation.state": feature, "action": feature},
        use_videos=False,
    )
    frame = {"observation.state": np.zeros(2, np.float32), "action": np.zeros(2, np.float32)}
    dataset.add_frame({**frame, "task": "test"})
    dataset.save_episode()
    dataset.finalize()
    with pytest.raises(UserError, match=r"holds \['a.pos', 'b.pos'\]"):
        read(tmp_path / "other", Units(Alignment(), JOINT_RANGE))
