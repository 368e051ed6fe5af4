"""`so101_robobase robot rollout` from the command line: what it says, leaves behind and returns."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_snapshot import save_tiny_snapshot

from so101_robobase.base import cli
from so101_robobase.base.arguments import options
from so101_robobase.robot.loop.arm_loop import HOLD, RELEASE
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.person.hints import REAL_ARM
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.robot.rollout.rollout import Outcome, Result, RolloutSettings
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.rollout_report import announce, report


@pytest.fixture(scope="module")
def seg(tmp_path_factory):
    """A policy of class ids that acts at random, on the whole task."""
    folder = tmp_path_factory.mktemp("seg")
    return save_tiny_snapshot(folder, "env.observation=seg", "env.eval_stage=0")


@pytest.fixture
def rollout(capsys):
    """rollout(snapshot, *words) -> (exit code, stdout, stderr) on the simulated arm."""

    def run(snapshot, *words):
        code = cli.main(["robot", "rollout", str(snapshot), "--robot", "sim", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


def test_it_announces_runs_reports_and_logs(rollout, seg, tmp_path):
    folder = tmp_path / "out"
    code, out, err = rollout(
        seg, "--num_episodes", 2, "--episode_time_s", 0.4, "--output_dir", folder
    )
    assert code == 0
    assert err == ""
    assert "2 episodes of 0.4 s" in out
    assert "start pose (degrees): 0 -38 3 90 90 61" in out
    assert out.count("failure (out of time)") == 2
    assert "0.0% (0 of 2)" in out
    assert {path.name for path in folder.iterdir()} == {
        "episode_000.npz",
        "episode_000_failed.png",
        "episode_001.npz",
        "episode_001_failed.png",
        "events.jsonl",
        "rollout.json",
    }
    record = json.loads((folder / "rollout.json").read_text())
    assert record["summary"]["success_interval"][0] == 0
    assert (
        record["outcomes"]
        == [{"success": False, "length": pytest.approx(0.4), "reason": "out of time"}] * 2
    )
    assert record["stopped"] is None
    assert record["left"] == RELEASE
    kinds = [json.loads(line)["kind"] for line in (folder / "events.jsonl").open()]
    assert kinds[0] == "connected"
    assert kinds[-1] == "released"
    episode = EpisodeLog.load(folder / "episode_001.npz")
    assert len(episode) == 20
    np.testing.assert_allclose(np.diff(episode.times), 0.02, atol=1e-9)


def test_the_same_seed_gives_the_same_rollout(rollout, seg, tmp_path):
    for name in ("a", "b"):
        rollout(seg, "--episode_time_s", 0.2, "--seed", 7, "--output_dir", tmp_path / name)
    first, second = (EpisodeLog.load(tmp_path / name / "episode_000.npz") for name in "ab")
    np.testing.assert_array_equal(first.measured, second.measured)
    np.testing.assert_array_equal(first.commanded, second.commanded)


def test_without_a_folder_it_writes_into_the_run(rollout, tmp_path):
    snapshot = save_tiny_snapshot(tmp_path / "run", "env.observation=seg", "env.eval_stage=0")
    assert rollout(snapshot, "--episode_time_s", 0.1)[0] == 0
    (folder,) = (tmp_path / "run" / "rollouts").iterdir()
    assert (folder / "rollout.json").exists()


SIMULATED = {
    "no episodes": (["--num_episodes", "0"], "--num_episodes 0"),
    "no time": (["--episode_time_s", "nan"], "--episode_time_s nan"),
    "too strong": (["--action_scale", "1.5"], "--action_scale 1.5"),
    "seed": (["--seed", "-1"], "--seed -1"),
    "held without torque": (["--dry_run", "--on_stop", "hold"], "--dry_run has none"),
    "nobody to press n": (["--step"], "foreground of a terminal"),
    "no alignment": (["--alignment", "nope.yaml"], "make it with `so101_robobase robot align`"),
    "no network": (["--segmentation", "nope.pt"], "nope.pt does not exist; give a best.pt"),
    "unwritable": (["--output_dir", "/proc/nowhere"], "name another --output_dir"),
    "other observation": (
        ["--overrides", "env.observation=rgb"],
        "observation rgb (2, 1, 84, 84) uint8 there, (2, 3, 84, 84) uint8 here",
    ),
    "other control": (
        ["--overrides", "env.control.mode=cartesian_delta"],
        "action (1, 6) float32 there, (1, 4) float32 here",
    ),
    "network for what is not seen": (
        ["--depth", "simulated"],
        "--depth finds disparity, which this policy does not see (observation=seg)",
    ),
    "cube in hand": (["--overrides", "env.eval_stage=1"], "add --overrides env.eval_stage=0"),
    "cube in hand, on the table": (
        ["--overrides", "env.eval_stage=2"],
        "episodes of stage 2 begin with the cube in the gripper",
    ),
}


@pytest.mark.parametrize(("words", "expected"), SIMULATED.values(), ids=SIMULATED)
def test_what_cannot_be_used_gets_one_line(rollout, seg, tmp_path, words, expected):
    if "--output_dir" not in words:
        words = [*words, "--output_dir", str(tmp_path / "out")]
    code, _, err = rollout(seg, *words)
    assert_one_line(code, err, expected)
    assert not (tmp_path / "out").exists()


def test_half_the_networks_are_refused(rollout, tmp_path):
    snapshot = Path(__file__).parents[3] / "policies" / "whole_task_snapshot.pt"
    words = ["--depth", "some/network", "--output_dir", tmp_path / "out"]
    code, _, err = rollout(snapshot, *words)
    assert_one_line(code, err, "--depth with a network needs --segmentation")


def test_a_policy_of_states_is_refused(rollout, tmp_path):
    snapshot = save_tiny_snapshot(tmp_path, "pixels=false", "env.observation=state")
    code, _, err = rollout(snapshot, "--output_dir", tmp_path / "out")
    assert_one_line(code, err, "observation=state, which holds the cube's position")


def test_a_policy_that_counts_its_steps_is_refused(rollout, tmp_path):
    snapshot = save_tiny_snapshot(
        tmp_path, "env.observation=seg", "use_onehot_time_and_no_bootstrap=true"
    )
    code, _, err = rollout(snapshot, "--output_dir", tmp_path / "out")
    assert_one_line(code, err, "it acts by the time that is left of an episode")


def test_a_missing_snapshot_is_named(rollout, tmp_path):
    code, _, err = rollout(tmp_path / "nope.pt")
    assert_one_line(code, err, "nope.pt does not exist")


def test_a_folder_with_a_rollout_is_left_alone(rollout, seg, tmp_path):
    (tmp_path / "events.jsonl").write_text("{}\n")
    code, _, err = rollout(seg, "--output_dir", tmp_path)
    assert_one_line(code, err, "holds a rollout already")
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


@pytest.mark.parametrize("robot", ["real", "emulated"])
def test_without_lerobot_the_extra_is_named(seg, tmp_path, capsys, monkeypatch, robot):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    monkeypatch.setattr("so101_robobase.robot.person.keys.has_keys", lambda: True)
    words = ["--port", "/dev/null", "--camera", "0", "--calibration", "/dev/null"]
    code = cli.main(
        ["robot", "rollout", str(seg), "--robot", robot, "--output_dir", f"{tmp_path}/out", *words]
    )
    assert_one_line(code, capsys.readouterr().err, '-e ".[robot]"')
    assert not (tmp_path / "out").exists()


def test_a_real_arm_needs_its_files_and_a_person(seg, tmp_path, capsys):
    command = ["robot", "rollout", str(seg), "--output_dir", str(tmp_path / "out")]
    code = cli.main(command)
    assert_one_line(code, capsys.readouterr().err, "needs --port, --camera, --calibration")
    arm = ["--port", "x", "--camera", "0", "--calibration", "/dev/null"]
    code = cli.main([*command, *arm, "--yes"])
    assert_one_line(code, capsys.readouterr().err, "a person must be able to stop the arm")


def test_the_person_reads_how_the_arm_was_left(asked, tmp_path, capsys):
    result = Result(stopped="SIGINT", left=HOLD, outcomes=[Outcome(None, 1.0, "quit")])
    report(asked, RolloutSettings(on_stop=HOLD), result, EventLog(), tmp_path, REAL_ARM)
    err = capsys.readouterr().err
    assert "stopped: Ctrl-C; the arm is held, its torque is on" in err
    assert "hold the arm before you switch its power off" in err


def test_torque_that_may_be_on_is_not_called_off(asked, tmp_path, capsys):
    result = Result(stopped="the arm does not answer", unconfirmed=["elbow_flex"])
    report(asked, RolloutSettings(), result, EventLog(), tmp_path, REAL_ARM)
    err = capsys.readouterr().err
    assert "torque may still be on in elbow_flex: switch the arm's power off" in err
    assert "is released" not in err
    assert json.loads((tmp_path / "rollout.json").read_text())["unconfirmed"] == ["elbow_flex"]


def test_events_that_are_lost_are_counted(asked, tmp_path, capsys):
    (tmp_path / "file").touch()
    events = EventLog(tmp_path / "file" / "events.jsonl")
    events.add("hold")
    report(asked, RolloutSettings(), Result(), events, tmp_path, REAL_ARM)
    assert "1 events could not be written" in capsys.readouterr().err


def test_a_dry_run_is_announced_as_one(asked, tmp_path, capsys):
    asked = replace(asked, dry_run=True, robot="real")
    announce(
        asked,
        "it",
        REAL_ARM,
        RolloutSettings(step=True),
        np.zeros(6),
        tmp_path,
        keys=True,
    )
    out = capsys.readouterr().out
    assert "dry run: torque goes off, nothing is sent" in out
    assert "start pose" not in out
    assert "no --alignment" in out
    assert "n next action" in out


@pytest.fixture
def asked(tmp_path):
    """Those of `--robot sim`."""
    (tmp_path / "0_snapshot.pt").touch()
    words = ["robot", "rollout", str(tmp_path / "0_snapshot.pt"), "--robot", "sim"]
    args = cli.build_parser(words).parse_args(words)
    return options(RolloutOptions, args)


def assert_one_line(code, err, expected):
    assert code == cli.USER_ERROR, err
    assert err.startswith("so101_robobase: error: ")
    assert err.count("\n") == 1
    assert expected in err
