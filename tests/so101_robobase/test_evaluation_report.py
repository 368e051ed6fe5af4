"""Claims about the files and tables of an evaluation."""

import csv
import json
import math

import pytest

from robobase.errors import UserError
from so101_robobase.evaluation import report
from so101_robobase.evaluation.statistics import Episode, summarise

HELD = ([0.015, 0.05, 0.081], [1.0, 1.5, 10.0], [False, True, True], [1.0, 0.2, 0.1])
EPISODES = [
    Episode(0, 7, True, 12.5, 6, 0.081, *HELD),
    Episode(1, 8, False, 1.0, 2, 0.015, [0.015], [1.0], [False], [1.07]),
]


def test_table_lines_are_equally_wide():
    lines = report.table([["a", "1"], ["longer", "22222"]], ["name", "n"]).splitlines()
    assert len(lines) == 6
    assert len({len(line) for line in lines}) == 1


def test_summary_table_names_every_figure():
    text = report.summary_table(summarise(EPISODES))
    for figure in ("50.0% (1)", "9.5% to 90.5%", "6.75", "4.0", "0.048", "0.081"):
        assert figure in text


def test_height_table_gives_the_first_step_above_each_mark():
    rows = report.height_table(EPISODES).splitlines()[3:5]
    assert rows[0].split("|")[6:10] == ["       2 ", "       2 ", "       3 ", "       3 "]
    assert rows[1].split("|")[6].strip() == "-"


def test_json_holds_settings_summary_and_each_episode(tmp_path):
    path = tmp_path / "evaluation.json"
    report.write_json(path, {"seed": 7}, summarise(EPISODES), EPISODES)
    record = json.loads(path.read_text())
    assert record["settings"] == {"seed": 7}
    assert record["summary"]["success_rate"] == 0.5
    assert [episode["seed"] for episode in record["episodes"]] == [7, 8]
    assert list(tmp_path.iterdir()) == [path]


def test_json_writes_unknown_figures_as_null(tmp_path):
    episode = Episode(0, 7, False, 0.0, 2, math.nan)
    report.write_json(tmp_path / "e.json", {}, summarise([episode]), [episode])
    text = (tmp_path / "e.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["episodes"][0]["max_cube_height"] is None


def test_debug_csv_has_a_row_per_step_and_the_height_crossings(tmp_path):
    report.write_debug_csv(tmp_path / "debug", EPISODES)
    with (tmp_path / "debug" / "episode_000.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "cube_z", "reward", "is_grasping", "jaw_angle"]
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert [row["is_grasping"] for row in rows] == ["0", "1", "1"]
    with (tmp_path / "debug" / "heights.csv").open() as file:
        crossings = list(csv.DictReader(file))
    assert crossings[0]["first_step_above_0.06m"] == "3"
    assert crossings[1]["first_step_above_0.02m"] == ""


def test_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*--output_dir") as raised:
        report.prepare_output(tmp_path / "file" / "evaluation")
    assert "\n" not in str(raised.value)


def test_prepared_output_is_empty(tmp_path):
    folder = report.prepare_output(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []
