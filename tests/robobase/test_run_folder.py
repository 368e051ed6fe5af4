"""What a resumed run takes along of the tables of its past."""

import csv

import pytest
from omegaconf import OmegaConf

from robobase import run_folder


def rows(file) -> list[list[str]]:
    with open(file, newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("name", ["new", "old"])
def test_rows_up_to_the_snapshot_are_carried_over(tmp_path, name):
    """Also where the run goes on in its own folder."""
    old, new = tmp_path / "old", tmp_path / name
    for folder in {old, new}:
        folder.mkdir()
    (old / "train.csv").write_text("step,loss\n10,1\n20,2\n30,3\n")
    (old / "pretrain.csv").write_text("step,loss\n1,1\n3,2\n")
    (old / "notes.csv").write_text("a,b\n1,2\n")
    run_folder.carry_over_csvs(old, new, env_steps=20, pretrain_steps=2)
    assert rows(new / "train.csv") == [["step", "loss"], ["10", "1"], ["20", "2"]]
    assert rows(new / "pretrain.csv") == [["step", "loss"], ["1", "1"]]
    assert (new / "notes.csv").exists() == (new == old)


def test_a_number_that_a_kill_cut_short_is_not_carried_over(tmp_path):
    (tmp_path / "train.csv").write_text("step,loss\n10,1.25\n20,13")  # 13.75 was meant
    run_folder.carry_over_csvs(tmp_path, tmp_path, env_steps=20, pretrain_steps=0)
    assert rows(tmp_path / "train.csv") == [["step", "loss"], ["10", "1.25"]]


def test_changed_settings_are_named_with_both_values():
    new = OmegaConf.create({"a": {"b": 2, "c": 3}, "resume_from": "x"})
    assert run_folder.changed_keys("a: {b: 1, d: 4}\nresume_from: null", new) == [
        "a.b: 1 -> 2",
        "a.c: (absent) -> 3",
        "a.d: 4 -> (absent)",
    ]


def test_the_commit_is_named_where_the_checkout_belongs_to_somebody_else(monkeypatch):
    ours = run_folder.versions()["git"]
    if ours is None:
        pytest.skip("needs git and a checkout")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert run_folder.versions()["git"] == ours
