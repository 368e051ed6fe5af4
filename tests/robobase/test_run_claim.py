"""A run folder belongs to one run."""

import datetime
import os
import shlex
import sys
from pathlib import Path

import hydra.core.utils
import pytest
from tiny_task import CONFIG_DIR, tiny_config

from robobase import run_folder, snapshot, train
from robobase.errors import UserError
from robobase.snapshot import read
from robobase.workspace import Workspace

SHORT = ["num_train_frames=120", "eval_every_steps=null", "num_gpus=0", "num_threads=1"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs `python -m robobase.train env=tiny <overrides>` in this process: exit code, out, err."""

    def run(*overrides: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        options = [word for word in overrides if word.startswith("-")]
        overrides = tuple(word for word in overrides if word not in options)
        options += ["--config-dir", str(CONFIG_DIR)]
        words = ["train", *options, "env=tiny", *SHORT, *overrides]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        capsys.readouterr()
        code = 0
        try:
            train.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_second_run_into_a_used_folder_is_refused_and_nothing_changes(call, tmp_path):
    assert call("hydra.run.dir=here")[0] == 0
    before = contents(tmp_path)
    assert {"here/config.yaml", "here/.hydra/overrides.yaml"} <= before.keys()
    code, _, err = call("hydra.run.dir=here", "seed=2")
    assert code == 2
    (line,) = err.splitlines()
    latest = tmp_path / "here" / "snapshots" / "latest_snapshot.pt"
    assert line == (
        f"error: {tmp_path}/here holds a run already; resume_from={latest} goes on with it; "
        "otherwise name another hydra.run.dir"
    )
    assert contents(tmp_path) == before


def test_a_run_goes_on_in_its_own_folder(call, tmp_path):
    assert call("hydra.run.dir=here")[0] == 0
    longer = ["hydra.run.dir=here", "num_train_frames=160"]
    code, out, err = call(*longer, "resume_from=here/snapshots/latest_snapshot.pt")
    assert code == 0, err
    assert "resumed" in out
    latest = read(tmp_path / "here" / "snapshots" / "latest_snapshot.pt")
    assert latest["progress"]["env_steps"] == 160
    assert call(*longer, "resume_from=here")[0] == 0  # a run folder means its latest


def test_going_on_from_an_earlier_snapshot_does_not_overwrite_the_later_part(call, tmp_path):
    assert call("hydra.run.dir=here")[0] == 0
    before = contents(tmp_path)
    earlier = "resume_from=here/snapshots/100_snapshot.pt"
    code, _, err = call("hydra.run.dir=here", earlier)
    assert code == 2
    assert "is at 100 env steps and its run at 120: going on there would overwrite" in err
    assert contents(tmp_path) == before
    assert call("hydra.run.dir=there", earlier)[0] == 0
    (tmp_path / "here" / "snapshots" / "latest_snapshot.pt").write_bytes(b"damaged")
    assert call("hydra.run.dir=here", earlier)[0] == 0  # nothing later can be read


def test_another_runs_snapshot_is_no_reason_to_take_a_used_folder(call, tmp_path):
    for name in ("one", "two"):
        assert call(f"hydra.run.dir={name}")[0] == 0
    code, _, err = call("hydra.run.dir=one", "resume_from=two/snapshots/latest_snapshot.pt")
    assert (code, "one holds a run already" in err) == (2, True)


def test_two_runs_at_once_do_not_share_a_folder(tmp_path):
    first = Workspace(tiny_config(), work_dir=tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path} is in use by process {os.getpid()}"):
        Workspace(tiny_config(), work_dir=tmp_path)
    assert first.save_snapshot() is None  # and the first one goes on
    latest = f"resume_from={first.snapshots.latest}"
    with pytest.raises(UserError, match="is in use"):
        Workspace(tiny_config(latest), work_dir=tmp_path)
    first.shutdown()
    Workspace(tiny_config(latest), work_dir=tmp_path).shutdown()


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(monkeypatch, call, tmp_path):
    class Frozen(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(hydra.core.utils, "datetime", Frozen)
    for _ in range(3):
        assert call()[0] == 0
    names = {folder.name for folder in (tmp_path / "runs" / "exp").iterdir()}
    first = "2026-01-02_03-04-05"
    assert names == {first, f"{first}-2", f"{first}-3"}


@pytest.mark.parametrize(
    "overrides",
    [
        ["replay_size_before_train=5"],
        ["resume_from=nowhere.pt"],
        ["tb.use=true", "tb.log_dir=/proc/nowhere"],  # which comes after all else
        ["no_such_key=1"],
        ["-m", "seed=1,2", "no_such_key=1"],
    ],
)
@pytest.mark.parametrize("folder", [[], ["hydra.run.dir=here"]])
def test_a_refused_run_leaves_no_folder(call, tmp_path, overrides, folder):
    assert call(*folder, *overrides)[0] == 2
    assert os.listdir(tmp_path) == []


def test_the_folder_of_a_sweep_of_somebody_else_is_refused(call, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").write_text("of an earlier one")
    before = contents(tmp_path)
    code, _, err = call("-m", "hydra.sweep.dir=sweep", "seed=1,2")
    assert code == 2
    assert "sweep holds a sweep that cannot be read (multirun.yaml); name another" in err
    assert contents(tmp_path) == before


def test_what_a_killed_write_left_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "eval_videos").mkdir()
    left = [".train.csv.12.tmp", "snapshots/.100_snapshot.pt.12.tmp", "eval_videos/.0.part.mp4"]
    kept = ["notes.tmp", ".mine.tmp", ".12.txt", "snapshots/.gitkeep"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("")
    run_folder.claim(tmp_path).release()
    assert set(contents(tmp_path)) == set(kept)


def test_a_folder_in_use_keeps_its_temporary_files(tmp_path):
    with run_folder.claim(tmp_path):
        (tmp_path / ".train.csv.12.tmp").write_text("")
        with pytest.raises(UserError, match="in use"):
            run_folder.claim(tmp_path)
    assert os.listdir(tmp_path) == [".train.csv.12.tmp"]


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(payload, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        snapshot.write(tmp_path / "1_snapshot.pt", {})
    assert os.listdir(tmp_path) == []


def test_hydras_own_launcher_can_be_chosen(call, tmp_path):
    code, out, err = call("-m", "hydra/launcher=basic", "replay_size_before_train=100,5")
    assert code == 1
    (sweep,) = (tmp_path / "runs" / "exp").iterdir()
    assert {file.name for file in sweep.iterdir()} == {"0", "1", "jobs.csv", "multirun.yaml"}
    assert (sweep / "0" / "snapshots" / "latest_snapshot.pt").exists()
    assert os.listdir(sweep / "1") == ["error.txt"]
    assert f"{sweep.relative_to(tmp_path)}/1: replay_size_before_train=5" in err
    (line,) = [line for line in out.splitlines() if line.startswith("to go on")]
    assert f"--config-dir {shlex.quote(str(CONFIG_DIR))} env=tiny" in line
    assert "replay_size_before_train=100 resume_from=" in line
