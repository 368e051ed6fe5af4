"""A resumed run is the run that was not interrupted."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_task import tiny_config

from robobase import signals, snapshot
from robobase.errors import UserError
from robobase.snapshot import read
from robobase.workspace import Workspace

HERE = Path(__file__).parent
TIMES = ("total_time", "buffer_sample_time")
EXACT = [
    "snapshot_replay=true",
    "num_train_frames=800",
    "update_every_steps=16",
    "eval_every_steps=400",
    "snapshot_every_n=300",
    "num_eval_episodes=2",
]


class Killed(Exception):
    """Stands in for a sudden death."""


def train(
    work_dir,
    *overrides: str,
    die_at: int | None = None,
    stop_at: int | None = None,
    by: int = signal.SIGTERM,
) -> Workspace:
    run = Workspace(tiny_config(*overrides), work_dir=work_dir)
    learn = run.learner.learn

    def die():
        if run.global_env_steps == die_at:
            raise Killed
        if run.global_env_steps == stop_at:
            os.kill(os.getpid(), by)
        return learn()

    run.learner.learn = die  # type: ignore[method-assign]
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
    elif isinstance(a, list):
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path):
    train(tmp_path / "unbroken", *EXACT)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *EXACT, die_at=700)
    latest = tmp_path / "killed" / "snapshots" / "latest_snapshot.pt"
    assert read(latest)["progress"]["env_steps"] == 600
    train(tmp_path / "resumed", *EXACT, f"resume_from={latest}")
    assert_same_run(tmp_path / "unbroken", tmp_path / "resumed")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train(folder / "run", *EXACT, "snapshot_replay=on_stop")
    return folder / "run"


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGUSR1"])
def test_every_signal_keeps_the_replay(tmp_path, capsys, name):
    train(tmp_path, stop_at=120, by=getattr(signal, name))
    assert f"stopped by {name} at 120 env steps" in capsys.readouterr().out
    latest = read(tmp_path / "snapshots" / "latest_snapshot.pt")
    assert latest["progress"]["env_steps"] == 120
    assert latest["replay"] is not None


@pytest.mark.parametrize(
    "name",
    [
        "SIGTERM",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGINT", "SIGHUP", "SIGUSR1")),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been_by_default(tmp_path, unbroken, capsys, name):
    settings = [*EXACT, "snapshot_replay=on_stop"]
    train(tmp_path / "stopped", *settings, stop_at=560, by=getattr(signal, name))
    assert f"stopped by {name} at 560 env steps" in capsys.readouterr().out
    snapshots = tmp_path / "stopped" / "snapshots"
    assert read(snapshots / "latest_snapshot.pt")["progress"]["env_steps"] == 560
    assert read(snapshots / "300_snapshot.pt")["replay"] is None
    train(tmp_path / "resumed", *settings, f"resume_from={snapshots / 'latest_snapshot.pt'}")
    assert_same_run(unbroken, tmp_path / "resumed")
    assert read(tmp_path / "resumed" / "snapshots" / "latest_snapshot.pt")["replay"] is None


def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = train(tmp_path, "num_train_frames=240", stop_at=200, by=signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.global_env_steps == 240


def signals_while_the_replay_is_written(monkeypatch, number_of_signals: int) -> None:
    monkeypatch.setattr(signals, "_ECHO_SECONDS", 0.0)
    save = torch.save

    def slowly(payload, file):
        if payload["replay"] is not None:
            file.write(b"half of it")
            for _ in range(number_of_signals):
                signal.raise_signal(signal.SIGTERM)
            file.seek(0)
        save(payload, file)

    monkeypatch.setattr(torch, "save", slowly)


def test_a_second_signal_while_the_replay_is_written_costs_nothing(tmp_path, monkeypatch, capfd):
    signals_while_the_replay_is_written(monkeypatch, 1)
    train(tmp_path, "snapshot_replay=on_stop", stop_at=200)
    assert "the snapshot is not complete yet" in capfd.readouterr().err
    assert read(tmp_path / "snapshots" / "latest_snapshot.pt")["replay"] is not None


def test_a_third_signal_ends_at_once_and_says_what_a_resumed_run_lacks(
    tmp_path, monkeypatch, capfd
):
    signals_while_the_replay_is_written(monkeypatch, 2)
    with signals.interrupts(), pytest.raises(signals.Interrupted):
        train(tmp_path, "snapshot_replay=on_stop", stop_at=200)
    assert "without its replay buffer a resumed run is not exact" in capfd.readouterr().err
    assert read(tmp_path / "snapshots" / "latest_snapshot.pt")["replay"] is None
    assert not list((tmp_path / "snapshots").glob(".*"))


def test_a_disk_without_room_for_the_replay_keeps_the_snapshot(tmp_path, monkeypatch, capsys):
    write = snapshot.write

    def full(path, payload):
        if payload["replay"] is not None:
            raise UserError("no space left")
        write(path, payload)

    monkeypatch.setattr(snapshot, "write", full)
    train(tmp_path, "snapshot_replay=on_stop", stop_at=200)
    assert "left without the replay buffer: no space left" in capsys.readouterr().out
    latest = tmp_path / "snapshots" / "latest_snapshot.pt"
    assert read(latest)["progress"]["env_steps"] == 200
    train(tmp_path / "second", "num_train_frames=240", f"resume_from={latest}")
    assert "the run fills a new one" in capsys.readouterr().out


def test_running_episodes_of_self_imitation_are_resumed_too(tmp_path):
    settings = [*EXACT, "env.episode_length=80", "num_explore_steps=2000"]
    settings += ["demos=2", "demo_batch_size=8", "use_self_imitation=true"]
    train(tmp_path / "unbroken", *settings)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *settings, die_at=560)
    latest = tmp_path / "killed" / "snapshots" / "latest_snapshot.pt"
    assert any(read(latest)["self_imitation"]["running"])
    train(tmp_path / "resumed", *settings, f"resume_from={latest}")
    assert_same_run(tmp_path / "unbroken", tmp_path / "resumed")
    replays = [
        read(tmp_path / run / "snapshots" / "latest_snapshot.pt")["replay"]
        for run in ("unbroken", "resumed")
    ]
    assert_equal(*replays)


def test_the_first_evaluation_is_not_repeated_by_a_resumed_run(tmp_path):
    train(tmp_path / "first", "num_train_frames=200")
    first = tmp_path / "first" / "snapshots" / "0_snapshot.pt"
    run = train(tmp_path / "second", "num_train_frames=200", f"resume_from={first}")
    assert run.progress.evaluations == 2


def test_the_best_snapshot_goes_along(tmp_path):
    first = Workspace(tiny_config("num_train_frames=200"), work_dir=tmp_path / "first")
    scores = iter([{"episode_reward": 1.0}, {"episode_reward": 0.0}, {"episode_reward": 0.0}])
    first.evaluator.evaluate = lambda *_: next(scores)  # type: ignore[method-assign]
    first.train()
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    second = Workspace(tiny_config(f"resume_from={latest}"), work_dir=tmp_path / "second")
    second.evaluator.evaluate = lambda *_: next(scores)  # type: ignore[method-assign]
    second.train()
    best = read(tmp_path / "second" / "snapshots" / "best_snapshot.pt")
    assert best["progress"]["env_steps"] == 0


def test_a_snapshot_from_before_the_first_step_can_be_loaded(tmp_path):
    saving, loading = (Workspace(tiny_config(), work_dir=tmp_path / name) for name in "ab")
    saving.save_snapshot()
    loading.load_snapshot(saving.snapshots.latest)
    assert_equal(saving.agent.state_dict(), loading.agent.state_dict())
    for run in (saving, loading):
        run.shutdown()


@pytest.mark.parametrize(
    "settings",
    [
        ["replay.prioritization=true", "replay.size=500"],  # the ring wraps
        ["frame_stack_on_channel=false"],
        ["intrinsic_reward_module=rnd"],
        ["launch=tiny_dagger"],
    ],
)
def test_every_way_of_learning_resumes_exactly(tmp_path, settings):
    settings = [*EXACT, *settings]
    train(tmp_path / "unbroken", *settings)
    earlier = tmp_path / "unbroken" / "snapshots" / "600_snapshot.pt"
    train(tmp_path / "resumed", *settings, f"resume_from={earlier}")
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
    kill_and_resume(tmp_path, 2, *EXACT, "num_train_frames=400", "snapshot_every_n=40")


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


def test_another_kind_of_file_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model.pt is not a snapshot of robobase.train") as caught:
        train(tmp_path / "run", f"resume_from={tmp_path / 'model.pt'}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_snapshot_of_other_networks_is_refused(tmp_path):
    train(tmp_path / "first", "num_train_frames=100")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    with pytest.raises(UserError, match="does not fit this method's networks") as caught:
        train(tmp_path / "second", "method.critic_model.bottleneck_size=9", f"resume_from={latest}")
    assert "\n" not in str(caught.value)


def test_a_run_folder_stands_for_its_latest_snapshot(tmp_path, capsys):
    short = ("num_train_frames=120", "eval_every_steps=null")
    train(tmp_path / "first", *short)
    run = Workspace(
        tiny_config(*short, f"resume_from={tmp_path / 'first'}"), work_dir=tmp_path / "second"
    )
    run.shutdown()
    assert run.global_env_steps == 120
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    assert f"its latest snapshot, {latest}" in capsys.readouterr().out
    assert (tmp_path / "second" / "train.csv").read_text() == (
        tmp_path / "first" / "train.csv"
    ).read_text()
