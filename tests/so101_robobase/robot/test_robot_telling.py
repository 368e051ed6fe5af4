"""What a rollout says of its steps, its events and its failures, and what it leaves behind."""

import ast
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from policy_ticks import make_ticks
from tiny_snapshot import save_tiny_snapshot

import so101_robobase.robot
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.base import cli
from so101_robobase.base.arguments import options
from so101_robobase.robot.loop.events import MEANINGS, EventLog, meanings
from so101_robobase.robot.person.hints import EMULATED_ARM, REAL_ARM, SIMULATED_ARM, hints_for
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.robot.recording.episode_logger import EpisodeLogger
from so101_robobase.robot.recording.last_pictures import LastPictures
from so101_robobase.robot.recording.records import records_per_second, ticks_per_record
from so101_robobase.robot.rollout.rollout import Result, RolloutSettings
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.rollout_report import report
from so101_robobase.robot.rollout.step_line import step_line

PAGE = Path(__file__).parents[3] / "docs" / "robot.md"


@pytest.fixture(scope="module")
def seg(tmp_path_factory):
    """A policy of class ids that acts at random, once in four control steps."""
    folder = tmp_path_factory.mktemp("seg")
    return save_tiny_snapshot(folder, "env.observation=seg", "env.eval_stage=0", "action_repeat=4")


def roll(snapshot, folder, *words):
    command = ["robot", "rollout", str(snapshot), "--robot", "sim", "--output_dir", str(folder)]
    return cli.main([*command, "--episode_time_s", "0.4", *map(str, words)])


def arguments(folder):
    (folder / "0_snapshot.pt").touch()
    words = ["robot", "rollout", str(folder / "0_snapshot.pt"), "--robot", "sim"]
    args = cli.build_parser(words).parse_args(words)
    return options(RolloutOptions, args)


# steps


def test_a_step_is_one_line_with_what_was_limited():
    line = step_line(
        3,
        np.array([0.04, -38, 3, 90, 90, 61]),
        np.array([2.9, -38, 3, 90, 90, 60]),
        np.array([1.2, -38, 3, 90, 90, 60]),
        ["step"],
    )
    assert line == (
        "step 3: pan 0.0>1.2 (wanted 2.9)  lift -38.0>-38.0  elbow 3.0>3.0  wrist 90.0>90.0  "
        "roll 90.0>90.0  gripper 61.0>60.0%; limited by step"
    )


def test_a_dry_run_tells_every_step_and_is_no_failure(seg, tmp_path, capsys):
    assert roll(seg, tmp_path / "out", "--dry_run") == 0
    out = capsys.readouterr().out
    steps = [line for line in out.splitlines() if line.startswith("step ")]
    assert len(steps) == 5  # 0.4 s at 12.5 Hz
    assert steps[0].startswith("step 1, not sent: pan ")
    assert "episode 1: not judged (out of time)" in out
    assert "a dry run: nothing was sent" in out
    assert "0.0%" not in out
    record = json.loads((tmp_path / "out" / "rollout.json").read_text())
    assert record["outcomes"][0]["success"] is None
    assert not list((tmp_path / "out").glob("*.png"))


# rates


@pytest.mark.parametrize("action_repeat", [1, 2, 3, 4, 5, 6, 7, 10, 25])
def test_records_come_as_often_as_a_dataset_says_and_never_miss_a_step(action_repeat):
    ticks = ticks_per_record(action_repeat)
    assert action_repeat % ticks == 0
    assert records_per_second(action_repeat) * ticks * CONTROL_PERIOD == pytest.approx(1)


def test_a_dataset_of_another_action_repeat_plays_at_the_speed_of_the_arm(seg, tmp_path):
    pytest.importorskip("lerobot")
    from so101_robobase.arm.alignment import Alignment, Units
    from so101_robobase.robot.recording.episode_log import read
    from so101_robobase.sim.scene import build_scene

    assert roll(seg, tmp_path / "out", "--record", tmp_path / "set") == 0
    info = json.loads((tmp_path / "set" / "meta" / "info.json").read_text())
    assert info["fps"] == 25
    units = Units(Alignment(), build_scene().model.actuator_ctrlrange)
    (recorded,) = read(tmp_path / "set", units)
    played = EpisodeLog.load(tmp_path / "out" / "episode_000.npz")
    np.testing.assert_allclose(recorded.times, played.times[::2], atol=1e-6)
    np.testing.assert_allclose(recorded.commanded, played.commanded[::2], atol=1e-4)
    np.testing.assert_allclose(recorded.measured, played.measured[::2], atol=1e-4)


# failures


def test_a_failed_episode_leaves_its_last_pictures(tmp_path):
    observer = LastPictures(tmp_path)
    for episode, success, keep in ((0, False, True), (1, True, True), (2, None, False)):
        observer.begin(episode)
        for tick in make_ticks(20, channels=2, camera=True):
            observer.tick(tick)
        observer.end(success, keep)
    observer.close()
    assert observer.failure is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episode_000_failed.png",
        "episode_002_failed.png",
    ]
    width, height = Image.open(tmp_path / "episode_000_failed.png").size
    assert (width, height) == (5 * 168, 3 * 168)  # 0, 0.2 ... 0.76 s; camera, ids, disparity


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_other_kinds_are_shown_too(tmp_path, channels):
    observer = LastPictures(tmp_path)
    observer.begin(0)
    for tick in make_ticks(1, channels=channels):
        observer.tick(tick)
    observer.end(False, True)
    observer.close()
    assert observer.failure is None
    assert (tmp_path / "episode_000_failed.png").exists()


def test_a_success_after_a_failed_try_leaves_none(tmp_path):
    observer = LastPictures(tmp_path)
    for success in (False, True):
        observer.begin(0)
        observer.tick(make_ticks(1)[0])
        observer.end(success, success)
    observer.close()
    assert list(tmp_path.iterdir()) == []


# full disks and lost folders


@pytest.fixture
def small_files():
    """Files may not grow beyond a megabyte, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_before_anything_moves(seg, tmp_path, capsys, small_files):
    assert roll(seg, tmp_path / "out") == cli.USER_ERROR
    assert "has no room for a log and a report" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_episode_that_cannot_be_written_ends_the_rollout_and_is_no_refusal(
    seg, tmp_path, capsys, monkeypatch
):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EpisodeLog, "save", full)
    assert roll(seg, tmp_path / "out", "--num_episodes", 3) == 1  # 2 would say that nothing moved
    said = capsys.readouterr()
    assert "episode_000.npz cannot be written (No space left on device)" in said.err
    record = json.loads((tmp_path / "out" / "rollout.json").read_text())
    assert len(record["outcomes"]) == 1
    assert "cannot be written" in record["stopped"]


def test_a_report_that_cannot_be_written_is_told_after_everything_else(tmp_path, capsys):
    args = arguments(tmp_path)
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "out"
    assert not report(args, RolloutSettings(), Result(), EventLog(), folder, SIMULATED_ARM)
    assert "report could not be written" in capsys.readouterr().err


def test_a_log_whose_folder_is_removed_is_written_again_whole(tmp_path):
    folder = tmp_path / "out"
    with EventLog(folder / "events.jsonl") as log:
        log.add("connected")
        log.add("hold", reason="x")
        shutil.rmtree(folder)
        log.add("stop", reason="y")
    kinds = [json.loads(line)["kind"] for line in (folder / "events.jsonl").open()]
    assert kinds == ["connected", "hold", "log_restored", "stop"]
    assert log.lost == 0


def test_a_log_that_cannot_be_written_again_says_how_much_is_lost(tmp_path):
    folder = tmp_path / "out"
    with EventLog(folder / "events.jsonl") as log:
        log.add("connected")
        shutil.rmtree(folder)
        folder.touch()  # somebody's file
        log.add("stop")
    assert log.lost == 2


def test_an_episode_logger_never_raises_for_a_disk(tmp_path):
    (tmp_path / "file").touch()
    logger = EpisodeLogger(tmp_path / "file", {})
    logger.begin(0)
    for tick in range(3):
        logger.tick(tick / 50, np.zeros(6), np.zeros(6))
    logger.end(True)
    assert "episode_000.npz cannot be written" in logger.failure


# names


def logged_kinds():
    """Every kind that the robot's own source logs."""
    kinds = set()
    for path in Path(so101_robobase.robot.__file__).parent.rglob("*.py"):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).endswith(("events.add", "self.add"))
                and node.args
            ):
                kinds |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    return kinds


def test_every_event_has_a_meaning_in_the_report_and_on_the_page():
    kinds = logged_kinds()
    assert {"same_frame", "limited", "hold", "go", "bad_frame"} <= kinds
    assert kinds - MEANINGS.keys() == set()
    page = PAGE.read_text()
    assert [kind for kind in MEANINGS if f"`{kind}`" not in page] == []


def test_the_report_explains_what_occurred():
    said = meanings({"same_frame": 3, "limited": 41})
    assert "      3  same_frame" in said
    assert "acted once more on a picture that it had acted on" in said
    assert "41  limited" in said


def test_only_a_real_arm_has_a_power_switch(tmp_path, capsys):
    args = arguments(tmp_path)
    for words, said in ((REAL_ARM, "switch the arm's power off"), (EMULATED_ARM, "its emulator")):
        report(
            args, RolloutSettings(), Result(unconfirmed=["gripper"]), EventLog(), tmp_path, words
        )
        err = capsys.readouterr().err
        assert f"torque may still be on in gripper: {words.cut_power}" in err
        assert said in err
    for words in (EMULATED_ARM, SIMULATED_ARM):
        told = " ".join(vars(words).values())
        assert not {"power", "cable", "cables", "plug", "switch"} & set(told.split())


def test_an_arm_is_known_by_its_port(tmp_path):
    assert hints_for(None) is SIMULATED_ARM
    assert hints_for("/dev/ttyACM0") is REAL_ARM
    (tmp_path / "port.emulator").symlink_to(tmp_path)
    assert hints_for(str(tmp_path / "port")) is EMULATED_ARM
