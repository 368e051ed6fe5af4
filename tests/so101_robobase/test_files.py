"""Claims about where outputs go that nobody named a place for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_snapshot import save_tiny_snapshot

from robobase.errors import UserError
from so101_robobase.base import cli, files

REPOSITORY = Path(__file__).parents[2]
TINY = ("env.observation=seg", "env.episode_length=12")


def test_results_of_a_runs_snapshot_stay_in_its_run_folder(tmp_path):
    assert files.output_folder(tmp_path / "snapshots" / "best_snapshot.pt") == tmp_path.resolve()


def test_results_of_a_runs_network_stay_in_its_run_folder(tmp_path):
    (tmp_path / "versions.json").touch()
    assert files.output_folder(tmp_path / "best.pt") == tmp_path.resolve()


@pytest.mark.parametrize(
    ("file", "folder"),
    [("whole_task_snapshot.pt", "runs/whole_task"), ("segmentation.pt", "runs/segmentation")],
)
def test_results_of_what_lies_in_no_run_folder_go_to_runs(file, folder):
    assert files.output_folder(REPOSITORY / "policies" / file) == Path(folder)


def test_results_of_a_run_that_cannot_be_written_go_to_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    snapshot = tmp_path / "theirs" / "snapshots" / "best_snapshot.pt"
    assert files.output_folder(snapshot) == Path("runs/theirs")


def test_results_of_a_run_folder_that_leads_elsewhere_go_to_runs(tmp_path):
    snapshot = tmp_path / "theirs" / "snapshots" / "best_snapshot.pt"
    snapshot.parent.mkdir(parents=True)
    assert files.output_folder(snapshot) == tmp_path / "theirs"
    (tmp_path / "theirs" / "evaluation").symlink_to(tmp_path)
    assert files.output_folder(snapshot) == Path("runs/theirs")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--num_episodes", "1", "--no_video"],
        ["robot", "rollout", "--robot", "sim", "--episode_time_s", "0.2"],
    ],
)
def test_a_shipped_snapshot_leaves_the_checkout_clean(command, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (checkout / "policies").mkdir(parents=True)
    shutil.copy(REPOSITORY / ".gitignore", checkout)
    made = save_tiny_snapshot(tmp_path / "made", *TINY)
    shutil.copy(made, checkout / "policies" / "small_snapshot.pt")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.chdir(checkout)
    words = [*command]
    words.insert(1 if command[0] == "evaluate" else 2, "policies/small_snapshot.pt")
    assert cli.main(words) == 0
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    assert changed.stdout == ""
    assert list((checkout / "runs" / "small").glob("*/*/*.json"))


MARKS = ("evaluation.json",), "an evaluation", "--output_dir"


def test_two_calls_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "timed", lambda folder: folder / "2026-01-02_03-04-05")
    with files.claimed(None, tmp_path, *MARKS) as one, files.claimed(None, tmp_path, *MARKS) as two:
        assert (one.name, two.name) == ("2026-01-02_03-04-05", "2026-01-02_03-04-05-2")
    assert os.listdir(tmp_path) == []  # nothing came of them


def test_a_folder_with_such_output_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "evaluation.json").write_text("of yesterday")
    message = "holds an evaluation already; name another --output_dir"
    with pytest.raises(UserError, match=message), files.claimed(tmp_path, tmp_path, *MARKS):
        pass
    assert (tmp_path / "evaluation.json").read_text() == "of yesterday"


def test_two_calls_at_once_do_not_write_into_one_folder(tmp_path):
    with files.claimed(tmp_path, tmp_path, *MARKS):
        (tmp_path / "kept").touch()
        with pytest.raises(UserError, match="in use"), files.claimed(tmp_path, tmp_path, *MARKS):
            pass
    assert os.listdir(tmp_path) == ["kept"]


def test_a_folder_that_cannot_be_made_is_one_line():
    nowhere = Path("/proc/nowhere/out")
    with pytest.raises(UserError, match="cannot be written"), files.claimed(None, nowhere, *MARKS):
        pass
