"""Which jobs of a sweep are where, and what is left of a grid."""

import csv

import pytest

from robobase import run_record, sweep_jobs
from robobase.errors import UserError
from robobase.locks import FolderLock
from robobase.run_record import RunRecord, Status
from robobase.sweep_jobs import Job, begin_anew, known, next_numbers, plan, write_index

A, B, C = ("env=x", "seed=1"), ("env=x", "seed=2"), ("env=x", "seed=3")


def make(root, name, words, status=None, saved=(), success=()):
    """A job's folder as a run leaves it."""
    folder = root / name
    (folder / ".hydra").mkdir(parents=True)
    lines = "".join(f"- {word}\n" for word in words)
    (folder / ".hydra" / "overrides.yaml").write_text(lines)
    (folder / "snapshots").mkdir()
    for step in saved:
        (folder / "snapshots" / f"{step}_snapshot.pt").touch()
    if status is not None:
        steps = max(saved, default=0)
        run_record.write(folder, RunRecord(status, None, steps, 100, 7.4))
    if success:
        rows = "".join(f"{value}\n" for value in success)
        (folder / "eval.csv").write_text(f"episode_success\n{rows}")
    return folder


def table(root):
    with open(root / "jobs.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_folder_leaves_all_of_the_grid(tmp_path):
    assert plan(tmp_path / "new", [A, B, A]).new == (A, B)
    assert plan(tmp_path / "new", [A]).is_fresh


def test_each_job_is_left_by_what_became_of_it(tmp_path):
    make(tmp_path, "0", A, Status.FINISHED)
    make(tmp_path, "1", B, Status.STOPPED, saved=[20])
    make(tmp_path, "2", C, Status.RUNNING)  # killed before its first snapshot
    new = ("env=x", "seed=4")
    found = plan(tmp_path, [C, B, A, new])
    assert found.finished == (Job("0", A),)
    assert found.resumed == (Job("1", B),)
    assert found.begun == (Job("2", C),)
    assert found.new == (new,)
    assert str(found) == "1 finished, 1 to resume, 1 to begin anew, 1 to start"


def test_a_job_that_somebody_runs_is_left_alone(tmp_path):
    with FolderLock(make(tmp_path, "0", A, Status.STOPPED, saved=[20])):
        assert plan(tmp_path, [A]).running == (Job("0", A),)
    assert plan(tmp_path, [A]).resumed == (Job("0", A),)


def test_a_failed_job_goes_on_from_its_snapshot(tmp_path):
    folder = make(tmp_path, "0", A, Status.RUNNING, saved=[20])
    (folder / run_record.FAILURE).write_text("killed by SIGKILL\n")
    assert plan(tmp_path, [A]).resumed == (Job("0", A),)


def test_a_job_is_known_in_whatever_order_it_was_typed(tmp_path):
    make(tmp_path, "0", A, Status.FINISHED)
    assert plan(tmp_path, [A[::-1]]).finished
    assert not plan(tmp_path, [(*A, "batch_size=8")]).finished


@pytest.mark.parametrize(
    "resumed",
    ["resume_from={0}", "resume_from={0}/snapshots/latest_snapshot.pt", "resume_from='{0}'"],
)
def test_what_resumed_a_job_is_no_part_of_it(tmp_path, resumed):
    make(tmp_path, "0", [*A, resumed.format(tmp_path / "0")], Status.FINISHED)
    assert known(tmp_path) == [Job("0", A)]


def test_a_snapshot_of_another_run_is_part_of_a_job(tmp_path):
    words = (*A, "resume_from=base/0")
    make(tmp_path, "0", words, Status.FINISHED)
    assert known(tmp_path) == [Job("0", words)]
    assert not plan(tmp_path, [A]).finished


def test_a_job_is_known_after_the_sweep_was_renamed(tmp_path):
    words = (*A, "resume_from=base.pt")
    folder = make(tmp_path / "old", "0", words, Status.FINISHED)
    write_index(tmp_path / "old")
    file = folder / ".hydra" / "overrides.yaml"
    file.write_text(f"{file.read_text()}- resume_from={folder}\n")
    (tmp_path / "old").rename(tmp_path / "new")
    assert known(tmp_path / "new") == [Job("0", words)]


def test_of_two_folders_of_one_job_the_finished_one_counts(tmp_path):
    make(tmp_path, "0", A, Status.FINISHED)
    make(tmp_path, "1", A, Status.STOPPED, saved=[90])
    assert known(tmp_path) == [Job("0", A)]


def test_the_index_tells_every_job_in_natural_order(tmp_path):
    make(tmp_path, "10", A, Status.FINISHED, saved=[100], success=[0.25, 0.75, 0.5])
    failed = make(tmp_path, "9", B, Status.RUNNING)
    (failed / run_record.FAILURE).write_text("no room\nTraceback\n")
    write_index(tmp_path, [Job("11", C)])
    rows = table(tmp_path)
    assert [row["number"] for row in rows] == ["9", "10", "11"]
    assert [row["status"] for row in rows] == ["failed: no room", "finished", "not started"]
    assert [row["success"] for row in rows] == ["", "0.75", ""]
    assert (rows[1]["overrides"], rows[1]["env_steps"]) == ("env=x seed=1", "100")
    assert rows[1]["seconds"] == "7"
    before = (tmp_path / "jobs.csv").read_bytes()
    write_index(tmp_path)
    assert (tmp_path / "jobs.csv").read_bytes() == before


def test_a_job_that_failed_before_it_began_is_known_by_the_index(tmp_path):
    words = (*A, "name=with space")
    (tmp_path / "0").mkdir()
    write_index(tmp_path, [Job("0", words)])
    assert known(tmp_path) == [Job("0", words)]
    assert plan(tmp_path, [words]).begun == (Job("0", words),)


def test_a_job_that_waits_for_its_turn_keeps_its_place(tmp_path):
    write_index(tmp_path, [Job("4", B)])
    found = plan(tmp_path, [A, B])
    assert (found.waiting, found.new) == ((Job("4", B),), (A,))
    assert str(found) == "2 to start"


@pytest.mark.parametrize("name", ["../outside", "/tmp", "link", ""])
def test_an_index_of_somebody_else_leads_nowhere(tmp_path, name):
    root = tmp_path / "sweep"
    (tmp_path / "outside").mkdir()
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "jobs.csv").write_text(f"number,folder,overrides\n0,{name},seed=1\n")
    assert known(root) == []


def test_new_jobs_get_the_next_free_number(tmp_path):
    assert next(iter(next_numbers(tmp_path / "new"))) == 0
    for name in ("0", "3", "notes"):
        (tmp_path / name).mkdir()
    assert next(iter(next_numbers(tmp_path))) == 4
    write_index(tmp_path, [Job("7", A)])
    assert next(iter(next_numbers(tmp_path))) == 8


def test_only_what_holds_no_snapshot_is_removed(tmp_path):
    kept = make(tmp_path, "0", A, Status.STOPPED, saved=[20])
    with pytest.raises(UserError, match="holds a snapshot"):
        begin_anew(kept)
    used = make(tmp_path, "1", B, Status.RUNNING)
    with FolderLock(used), pytest.raises(UserError, match="in use"):
        begin_anew(used)
    begin_anew(used)
    assert not used.exists()
    assert sweep_jobs.known(tmp_path) == [Job("0", A)]
