"""Claims about the comparison of runs."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase import cli
from so101_robobase.evaluation.comparison import comparison_rows, draw_curves, find_runs

HEADER = "env_steps,total_time,episode_success,episode_reward\n"


def _run(folder, rows):
    folder.mkdir(parents=True)
    (folder / "eval.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return folder


def test_table_gives_best_final_and_the_crossings(tmp_path):
    a = _run(
        tmp_path / "lift" / "a",
        ["0,1,0.0,1", "1000,3661,0.9,5", "2000,7300,1.0,6", "3000,9000,.8,7"],
    )
    b = _run(tmp_path / "lift" / "b", ["0,1,0.0,1", "1000,10,0.5,2"])
    header, first, second = comparison_rows(find_runs([a, b]), (0.9, 0.95))
    record = dict(zip(header, first, strict=True))
    assert record["run"] == "lift/a"
    assert (record["best success"], record["at step"]) == ("100.0%", "2,000")
    assert record["final success"] == "80.0%"
    assert (record["steps to 90%"], record["time to 90%"]) == ("1,000", "1:01:01")
    assert (record["steps to 95%"], record["time to 95%"]) == ("2,000", "2:01:40")
    assert second[-4:] == ["-", "-", "-", "-"]


def test_best_breaks_ties_by_reward(tmp_path):
    run = find_runs([_run(tmp_path / "a", ["0,1,1.0,5", "1,1,1.0,9", "2,1,1.0,7"])])[0]
    assert run.best == 1


def test_cells_missing_in_some_rows_are_not_numbers(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "eval.csv").write_text("env_steps,episode_reward,episode_success\n0,1,\n9,2,1\n")
    run = find_runs([folder])[0]
    assert np.isnan(run.episode_success[0])
    assert np.isnan(run.total_time).all()
    assert run.best == 1


def test_folder_of_a_multirun_stands_for_its_runs(tmp_path):
    for name in ("0", "1"):
        _run(tmp_path / "sweep" / name, ["0,1,0,1"])
    assert [run.name for run in find_runs([tmp_path / "sweep"])] == ["sweep/0", "sweep/1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no eval.csv"),
        (HEADER, "no evaluations yet"),
        ("a,b\n1,2\n", "no column env_steps or episode_reward"),
        (HEADER + "0,1,x,1\n", "damaged"),
    ],
)
def test_unreadable_run_is_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "eval.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        find_runs([tmp_path])


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere' is not a folder"):
        find_runs([tmp_path / "nowhere"])


def test_command_prints_the_table_and_writes_the_curves(tmp_path, capsys):
    run = _run(tmp_path / "lift" / "a", ["0,1,0.0,1", "1000,60,0.96,5"])
    assert cli.main(["compare", str(run), "--output", str(tmp_path / "c.png")]) == 0
    assert "lift/a" in capsys.readouterr().out
    assert (tmp_path / "c.png").exists()


def test_curves_of_an_unknown_format_are_one_line(tmp_path, capsys):
    run = _run(tmp_path / "a", ["0,1,0.0,1"])
    assert cli.main(["compare", str(run), "--output", str(tmp_path / "c.nonsense")]) == 2
    assert "choose --output" in capsys.readouterr().err


def test_curves_are_a_png(tmp_path):
    runs = find_runs([_run(tmp_path / "a", ["0,1,0,1", "10,2,1,2"])])
    draw_curves(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
