"""Claims about a run folder that is given in place of a snapshot."""

import pytest

from robobase.errors import UserError
from robobase.run_snapshot import locate


def _snapshots(run, *names):
    folder = run / "snapshots"
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}_snapshot.pt").write_text(name)
    return folder


def test_a_file_or_what_is_missing_is_taken_as_it_is(tmp_path, capsys):
    assert locate(tmp_path / "none.pt") == tmp_path / "none.pt"
    assert capsys.readouterr().out == ""


def test_a_run_folder_means_its_latest_snapshot_and_says_which(tmp_path, capsys):
    folder = _snapshots(tmp_path, "9", "10", "latest", "best")
    assert locate(tmp_path) == folder / "latest_snapshot.pt"
    told = capsys.readouterr().out
    assert f"{tmp_path}: its latest snapshot, {folder / 'latest_snapshot.pt'}" in told
    assert f"the best one is {folder / 'best_snapshot.pt'}" in told


def test_the_folder_of_snapshots_will_do(tmp_path):
    folder = _snapshots(tmp_path, "latest")
    assert locate(str(folder)) == folder / "latest_snapshot.pt"


def test_without_a_latest_one_the_most_env_steps_count(tmp_path):
    folder = _snapshots(tmp_path, "900", "1000", "best")
    assert locate(tmp_path) == folder / "1000_snapshot.pt"


def test_a_folder_without_a_snapshot_says_so(tmp_path):
    with pytest.raises(UserError, match="is a folder without a snapshot; give a run folder"):
        locate(tmp_path)


def test_a_sweeps_folder_names_its_runs(tmp_path):
    for name in "01":
        _snapshots(tmp_path / name, "latest")
    with pytest.raises(UserError, match=r"holds 2 runs with snapshots; give one of them: .*/0, "):
        locate(tmp_path)
