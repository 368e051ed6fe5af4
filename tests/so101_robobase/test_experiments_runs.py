"""Claims about the comparison of runs."""

import json

import numpy as np
import pytest
from PIL import Image

from robobase.errors import UserError
from so101_robobase.base import cli
from so101_robobase.experiments.curves_picture import draw_curves
from so101_robobase.experiments.runs import find_runs, settings
from so101_robobase.experiments.tables import comparison_rows, setting_rows

HEADER = "env_steps,total_time,episode_success,episode_reward\n"


def _run(folder, rows, *overrides):
    folder.mkdir(parents=True)
    (folder / "eval.csv").write_text(HEADER + "\n".join(rows) + "\n")
    if overrides:
        (folder / ".hydra").mkdir()
        lines = "".join(f"- {json.dumps(word)}\n" for word in overrides)
        (folder / ".hydra" / "overrides.yaml").write_text(lines)
    return folder


def _sweep(folder):
    """Two settings, two seeds each."""
    final = {("v11", 1): 0.2, ("v11", 2): 0.6, ("v19", 1): 0.95, ("v19", 2): 1.0}
    for number, ((version, seed), success) in enumerate(final.items()):
        words = ("env=so101_lift", f"env.reward_version={version}", f"seed={seed}")
        _run(folder / str(number), ["0,1,0.0,1", f"1000,{60 * seed},{success},5"], *words)
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


def test_runs_without_evaluations_are_left_out_and_told(tmp_path, capsys):
    good = _run(tmp_path / "lift" / "a", ["0,1,0,1"])
    refused = tmp_path / "lift" / "b"
    (refused / ".hydra").mkdir(parents=True)
    young = _run(tmp_path / "lift" / "c", [])
    assert [run.name for run in find_runs([good, refused, young])] == ["lift/a"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "left out:" in told[0]
    assert str(refused) in told[0]
    assert str(young) in told[1]


def test_a_folder_of_runs_and_of_sweeps_stands_for_all_in_it(tmp_path, capsys):
    _run(tmp_path / "runs" / "lift" / "day", ["0,1,0,1"])
    for number in range(11):
        _run(tmp_path / "runs" / "sweep" / "day" / str(number), ["0,1,0,1"])
    (tmp_path / "runs" / "lift" / "day" / "evaluation").mkdir()
    for number in range(7):
        (tmp_path / "runs" / "refused" / str(number) / ".hydra").mkdir(parents=True)
    names = [run.name for run in find_runs([tmp_path / "runs", tmp_path / "runs" / "lift"])]
    assert names == ["lift/day", *(f"day/{number}" for number in range(11))]
    told = capsys.readouterr().err.splitlines()
    assert "refused/0' holds no eval.csv" in told[0]
    assert told[5:] == ["left out: 2 more runs that cannot be read"]


def test_settings_are_what_differs_without_the_seed(tmp_path):
    runs = find_runs([_sweep(tmp_path / "sweep")])
    assert settings(runs) == [
        "env.reward_version=v11",
        "env.reward_version=v11",
        "env.reward_version=v19",
        "env.reward_version=v19",
    ]
    header, *rows = comparison_rows(runs, (0.9,))
    assert header[1:3] == ["setting", "seed"]
    assert rows[3][1:3] == ["env.reward_version=v19", "2"]


def test_seeds_of_a_setting_share_a_line(tmp_path):
    header, *rows = setting_rows(find_runs([_sweep(tmp_path / "sweep")]), 0.9)
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert first["setting"] == "env.reward_version=v11"
    assert (first["seeds"], first["final success"]) == ("2", "40.0% (20% to 60%)")
    assert (first["reach 90%"], first["steps to 90%"]) == ("0 of 2", "-")
    assert second["final success"] == "97.5% (95% to 100%)"
    assert (second["reach 90%"], second["time to 90%"]) == ("2 of 2", "0:01:30")


def test_runs_that_share_no_setting_need_no_such_table(tmp_path):
    folders = [_run(tmp_path / n, ["0,1,0,1"], f"launch={n}") for n in ("demos", "teacher")]
    assert setting_rows(find_runs(folders), 0.9) == []


@pytest.mark.parametrize("count", [1, 12, 40])
def test_no_line_of_the_legend_is_cut(tmp_path, count):
    folders = [
        _run(
            tmp_path / f"r{k}",
            ["0,1,0,1", "9,1,1,2"],
            f"method.lr={k}",
            f"long.key.of.it={'x' * 60}{k}",
        )
        for k in range(count)
    ]
    draw_curves(find_runs(folders), tmp_path / "c.png")
    picture = np.array(Image.open(tmp_path / "c.png").convert("L"))
    border = np.concatenate([picture[:3].ravel(), picture[-3:].ravel(), picture[:, :3].ravel()])
    assert border.min() == 255  # nothing runs into the edges
    assert picture[:, -3:].min() == 255


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
    assert cli.main(["runs", "compare", str(run), "--output", str(tmp_path / "c.png")]) == 0
    assert "lift/a" in capsys.readouterr().out
    assert (tmp_path / "c.png").exists()


def test_curves_of_an_unknown_format_are_one_line(tmp_path, capsys):
    run = _run(tmp_path / "a", ["0,1,0.0,1"])
    assert cli.main(["runs", "compare", str(run), "--output", str(tmp_path / "c.nonsense")]) == 2
    assert "must end in .png" in capsys.readouterr().err


def test_curves_are_a_png(tmp_path):
    runs = find_runs([_run(tmp_path / "a", ["0,1,0,1", "10,2,1,2"])])
    draw_curves(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
