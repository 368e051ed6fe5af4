"""Claims about `so101_robobase runs`: list, show, compare, clean."""

import contextlib
import json
import os

import pytest
from made_up_runs import make_run, make_sweep

from robobase.locks import FolderLock
from so101_robobase.base.cli import main


@pytest.fixture
def runs(tmp_path, capsys, monkeypatch):
    """Runs `so101_robobase runs ...` in a folder of its own; lines of its output."""
    monkeypatch.chdir(tmp_path)

    def command(*words, code=0):
        assert main(["runs", *words]) == code
        said = capsys.readouterr()
        return (said.err if code else said.out).splitlines()

    return command


def names(folder):
    return sorted(path.name for path in (folder / "snapshots").iterdir())


def test_runs_alone_lists_the_newest_first_and_sweeps_together(tmp_path, runs):
    make_run(tmp_path / "runs" / "old", updated="2026-11-01T10:00:00+00:00")
    make_sweep(tmp_path / "runs" / "sweep")
    make_run(tmp_path / "runs" / "new", (0.0, 0.25), "stopped", updated="2026-12-02T10:00:00+00:00")
    _, header, _, *rows, _, last = runs()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["runs/new", "runs/sweep", *"0123", "runs/old"]
    assert cells[0][1:5] == ["stopped", "so101_lift", "1,000 (50%)", "25.0%"]
    assert cells[1][1] == "4 finished"
    assert [word.strip() for word in header.strip("|").split("|")][4:] == ["success", "age", "size"]
    assert last.startswith("6 runs, ")


def test_runs_of_a_folder_are_its_own(tmp_path, runs):
    make_sweep(tmp_path / "runs" / "sweep")
    make_run(tmp_path / "elsewhere" / "run")
    assert any("elsewhere/run" in line for line in runs("elsewhere"))
    assert not any("sweep" in line for line in runs("list", "elsewhere"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "runs does not exist"),
        (["nope"], "nope does not exist"),
        (["empty"], "holds no eval.csv and nothing else of a run"),
        (["show", "empty"], "empty is no run's folder"),
        (["compare", "empty"], "holds no eval.csv and nothing else of a run"),
        (["clean", "empty"], "holds no eval.csv and nothing else of a run"),
    ],
)
def test_a_folder_that_is_none_of_runs_is_one_line(tmp_path, runs, words, message):
    (tmp_path / "empty").mkdir()
    (line,) = runs(*words, code=2)
    assert message in line


def test_show_tells_how_far_a_run_is_and_where_its_best_is(tmp_path, runs):
    make_run(tmp_path / "run", (0.0, 0.95, 0.5), "stopped")
    told = dict(line.split(maxsplit=1) for line in runs("show", "run") if line[:1].isalpha())
    assert told["status"] == "stopped"
    assert told["given"] == "env.reward_version=v11 seed=1"
    assert told["best"] == "snapshot    run/snapshots/best_snapshot.pt"
    assert told["versions"] == "Python 3.11.7, torch 2.13.0"
    assert any("95.0%" in line for line in runs("show", "run"))


def test_compare_tells_which_settings_differ(tmp_path, runs):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", (0.0, 0.1), seed=2, version="v19")
    lines = runs("compare", "a", "b")
    assert any("env.reward_version" in line and "v11" in line and "v19" in line for line in lines)
    assert any("env.reward_version=v19" in line and "10.0%" in line for line in lines)
    assert not any("num_train_frames" in line for line in lines)


def test_compare_takes_runs_that_have_not_evaluated(tmp_path, runs):
    make_run(tmp_path / "a", ())
    make_run(tmp_path / "b", (), seed=2)
    assert runs("compare", "a", "b")[-1] == "no run has evaluated yet"


def test_clean_says_what_could_go_and_touches_nothing(tmp_path, runs):
    run = make_run(tmp_path / "run", snapshots=(500, 1000, 2000))
    before = names(run)
    *lines, last = runs("clean", "run")
    assert any("500, 1000" in line for line in lines)
    assert "Nothing was removed; --yes does it" in last
    assert names(run) == before


def test_clean_removes_old_snapshots_and_what_killed_writes_left(tmp_path, runs):
    run = make_run(tmp_path / "run", snapshots=(500, 1000, 2000))
    (run / "snapshots" / ".3000_snapshot.pt.77.tmp").write_bytes(b"half")
    (run / "snapshots" / "mine.pt").write_bytes(b"precious")
    runs("clean", "run", "--yes")
    kept = ["2000_snapshot.pt", "best_snapshot.pt", "latest_snapshot.pt", "mine.pt"]
    assert names(run) == kept
    assert runs("clean", "run", "--yes")[-1].startswith("nothing to remove")


def test_clean_keeps_a_best_snapshot_that_is_not_the_latest(tmp_path, runs):
    run = make_run(tmp_path / "run", snapshots=(500, 1000, 2000))
    best = run / "snapshots" / "best_snapshot.pt"
    best.unlink()
    best.hardlink_to(run / "snapshots" / "500_snapshot.pt")
    content = best.read_bytes()
    runs("clean", "run", "--yes")
    assert names(run) == [
        "2000_snapshot.pt", "500_snapshot.pt", "best_snapshot.pt", "latest_snapshot.pt"
    ]  # fmt: skip
    assert best.read_bytes() == content


def test_clean_keeps_what_keep_every_asked_for(tmp_path, runs):
    run = make_run(tmp_path / "run", snapshots=(400, 1100, 1900, 2100), keep_every=1000)
    runs("clean", "run", "--yes")
    assert {"1100_snapshot.pt", "2100_snapshot.pt"} <= set(names(run))
    assert not {"400_snapshot.pt", "1900_snapshot.pt"} & set(names(run))


@pytest.mark.parametrize("missing", ["best", "latest"])
def test_clean_leaves_runs_alone_whose_best_or_latest_is_not_known(tmp_path, runs, missing):
    run = make_run(tmp_path / "run", snapshots=(500, 1000, 2000))
    (run / "snapshots" / f"{missing}_snapshot.pt").unlink()
    before = names(run)
    runs("clean", "run", "--yes")
    assert names(run) == before


def test_clean_leaves_a_running_run_and_links_alone(tmp_path, runs):
    running = make_run(tmp_path / "runs" / "a", snapshots=(500, 2000))
    linked = make_run(tmp_path / "runs" / "b", snapshots=(500, 2000))
    os.rename(linked / "snapshots", tmp_path / "elsewhere")
    (linked / "snapshots").symlink_to(tmp_path / "elsewhere")
    before = names(running), names(linked)
    with FolderLock(running):
        lines = runs("clean", "runs", "--yes")
    assert lines[0] == "left alone: 1 that is running"
    assert (names(running), names(linked)) == before


def test_clean_leaves_a_run_alone_that_was_taken_up_meanwhile(tmp_path, runs, monkeypatch):
    run = make_run(tmp_path / "run", snapshots=(500, 2000))
    before = names(run)
    with contextlib.ExitStack() as stack:
        monkeypatch.setattr(
            "so101_robobase.evaluation.report.table",
            lambda *_: stack.enter_context(FolderLock(run)),
        )
        lines = runs("clean", "run", "--yes")
    assert any(line.startswith("left alone: ") for line in lines)
    assert names(run) == before


def test_a_strangers_words_do_not_steer_the_terminal(tmp_path, runs):
    run = make_run(tmp_path / "run", (), "failed")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "reason": "\x1b[2J gone"}))
    assert not any("\x1b" in line for line in runs("show", "run"))
