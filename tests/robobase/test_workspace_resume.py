"""A resumed run is the run that was not interrupted."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_task import tiny_config

from robobase.errors import UserError
from robobase.snapshot import read
from robobase.workspace import Workspace

HERE = Path(__file__).parent
TIMES = ("total_time", "buffer_sample_time")
EXACT = [
    "snapshot_replay=true",
    "num_train_frames=2000",
    "update_every_steps=16",
    "eval_every_steps=400",
    "snapshot_every_n=300",
    "num_eval_episodes=2",
]


class Killed(Exception):
    """Stands in for a sudden death."""


def train(work_dir, *overrides: str, die_at: int | None = None) -> Workspace:
    run = Workspace(tiny_config(*overrides), work_dir=work_dir)
    perform = run._perform_updates

    def die():
        if run.global_env_steps == die_at:
            raise Killed
        return perform()

    run._perform_updates = die  # type: ignore[method-assign]
    run.train()
    return run


def metrics(folder: Path, table: str) -> list[dict[str, str]]:
    """Rows without what the clock decides."""
    with open(folder / table, newline="") as stream:
        return [
            {k: v for k, v in row.items() if k not in TIMES and not k.endswith("_per_second")}
            for row in csv.DictReader(stream)
        ]


def assert_same_run(a: Path, b: Path) -> None:
    for table in ("train.csv", "eval.csv"):
        assert metrics(a, table) == metrics(b, table)
    states = [read(folder / "snapshots" / "latest_snapshot.pt") for folder in (a, b)]
    assert_equal(*[{k: s[k] for k in ("agent", "training", "progress", "rng")} for s in states])


def assert_equal(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    else:
        assert a == b


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path):
    train(tmp_path / "unbroken", *EXACT)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *EXACT, die_at=1360)
    latest = tmp_path / "killed" / "snapshots" / "latest_snapshot.pt"
    assert read(latest)["progress"]["env_steps"] == 1200
    train(tmp_path / "resumed", *EXACT, f"resume_from={latest}")
    assert_same_run(tmp_path / "unbroken", tmp_path / "resumed")


def kill_and_resume(tmp_path, kills: int, *overrides: str) -> None:
    command = [sys.executable, HERE / "kill_training.py", tmp_path, str(kills), "1", *overrides]
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(tmp_path / "unbroken", tmp_path / "killed")


def test_sigkill_loses_nothing_before_the_last_snapshot(tmp_path):
    kill_and_resume(tmp_path, 2, *EXACT, "num_train_frames=800", "snapshot_every_n=40")


@pytest.mark.slow
def test_ten_sigkills_lose_nothing_before_the_last_snapshot(tmp_path):
    kill_and_resume(tmp_path, 10, *EXACT, "num_train_frames=8000", "snapshot_every_n=100")


def test_without_replay_a_run_goes_on_and_collects_anew(tmp_path):
    train(tmp_path / "first", "num_train_frames=200")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    run = train(tmp_path / "second", "num_train_frames=400", f"resume_from={latest}")
    assert run.global_env_steps == 400
    assert len(run.replay_buffer) == 200


def test_more_environments_continue_a_run_of_fewer(tmp_path):
    train(tmp_path / "first", "num_train_frames=200", "snapshot_replay=true")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    overrides = ["num_train_envs=8", "snapshot_replay=true", f"resume_from={latest}"]
    run = train(tmp_path / "second", *overrides)
    assert run.global_env_steps == 400
    assert len(run.replay_buffer) == 400


def test_the_current_config_wins_and_changes_are_named(tmp_path, capsys):
    train(tmp_path / "first", "num_train_frames=200")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    run = train(tmp_path / "second", "num_train_frames=300", f"resume_from={latest}")
    assert run.global_env_steps == 300
    said = [line for line in capsys.readouterr().out.splitlines() if "resumed" in line]
    assert len(said) == 1
    assert "num_train_frames: 200 -> 300" in said[0]


def test_a_snapshot_of_another_observation_shape_is_refused(tmp_path):
    train(tmp_path / "first", "num_train_frames=100")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    with pytest.raises(UserError, match=r"observation rgb .* there, absent here") as caught:
        train(tmp_path / "second", "pixels=false", f"resume_from={latest}")
    assert "\n" not in str(caught.value)


def test_a_snapshot_of_other_networks_is_refused(tmp_path):
    train(tmp_path / "first", "num_train_frames=100")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    with pytest.raises(UserError, match="does not fit this method's networks") as caught:
        train(tmp_path / "second", "method.critic_model.bottleneck_size=9", f"resume_from={latest}")
    assert "\n" not in str(caught.value)
