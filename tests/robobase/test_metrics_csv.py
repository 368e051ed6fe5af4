"""The metric table takes new columns, survives kills and continues resumed runs."""

import csv

import pytest

from robobase.metrics_csv import MetricsCsv


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_metrics_add_columns_and_missing_ones_leave_cells_empty(tmp_path):
    path = tmp_path / "train.csv"
    table = MetricsCsv(path)
    table.write(0, {"reward": 1.5})
    table.write(10, {"reward": 2.0, "critic_loss": 0.25})
    table.write(20, {"critic_loss": 1e-9})
    assert _read(path) == [
        {"step": "0", "reward": "1.5", "critic_loss": ""},
        {"step": "10", "reward": "2", "critic_loss": "0.25"},
        {"step": "20", "reward": "", "critic_loss": "1e-09"},
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["train.csv"]


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e300, -7.0, 123456789.123, float("inf")])
def test_numbers_read_back_exactly(tmp_path, value):
    MetricsCsv(tmp_path / "t.csv").write(0, {"x": value})
    assert float(_read(tmp_path / "t.csv")[0]["x"]) == value


def test_a_resumed_run_continues_the_table_from_its_own_step(tmp_path):
    path = tmp_path / "train.csv"
    first = MetricsCsv(path)
    for step in (0, 10, 20, 30):
        first.write(step, {"x": step})
    resumed = MetricsCsv(path)
    assert len(_read(path)) == 4
    resumed.write(20, {"x": -20, "y": 1})
    resumed.write(20, {"x": -21})
    assert [(row["step"], row["x"]) for row in _read(path)] == [
        ("0", "0"),
        ("10", "10"),
        ("20", "-20"),
        ("20", "-21"),
    ]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "train.csv"
    MetricsCsv(path).write(0, {"x": 1, "y": 2})
    with path.open("a") as file:
        file.write("10,3")
    MetricsCsv(path).write(20, {"x": 5})
    assert [row["step"] for row in _read(path)] == ["0", "20"]


def test_an_empty_file_is_started(tmp_path):
    path = tmp_path / "train.csv"
    path.touch()
    MetricsCsv(path).write(3, {"x": 1})
    assert _read(path) == [{"step": "3", "x": "1"}]
