"""What stability says of evaluations that are known."""

import math

import numpy as np
import pytest
from stability import read, rows, run_folders, stability

from robobase.errors import UserError
from so101_robobase.experiments.runs import Run


def run(*success, steps=None):
    steps = np.arange(len(success)) * 1000.0 if steps is None else np.array(steps)
    return Run("run", steps, steps, np.array(success), np.array(success))


def write(folder, *success):
    folder.mkdir(parents=True)
    lines = [f"{1000 * k},{1000 * k},{value},0" for k, value in enumerate(success)]
    header = "step,env_steps,episode_success,episode_reward"
    (folder / "eval.csv").write_text("\n".join([header, *lines, ""]))
    return folder


def test_the_ratio_is_the_mean_of_the_second_half_over_the_peak():
    one = stability(run(0.0, 0.8, 0.8, 0.4, 0.6), "group")
    assert (one.peak, one.final) == (0.8, 0.6)
    assert one.second_half == pytest.approx(0.6)  # evaluations 2, 3 and 4
    assert one.ratio == pytest.approx(0.75)


def test_halves_are_of_env_steps_not_of_evaluations():
    one = stability(run(1.0, 0.0, 0.0, 0.0, 0.5, steps=[0, 10, 20, 30, 1000]), "group")
    assert one.second_half == 0.5


def test_a_run_that_never_succeeds_holds_nothing():
    one = stability(run(0.0, 0.0, 0.0, 0.0), "group")
    assert rows([one])[0][-3:] == ["0.00", "0.0%", "no"]


def test_runs_of_a_group_are_pooled():
    steady, fallen = (
        stability(run(0, 1, 1, 1), "group"),
        stability(run(0, 0.5, 0.25, 0.25), "group"),
    )
    table = rows([steady, fallen, stability(run(0, 1, 1, 1), "other")])
    assert len(table) == 4
    assert table[2][3:5] == ["**62.5%**", "**0.75**"]
    assert table[2][-1] == "**1 of 2**"


@pytest.mark.parametrize("success", [(0.0, 1.0, 1.0), (0.0, 1.0, math.nan, 1.0)])
def test_evaluations_that_say_nothing_are_refused(success):
    with pytest.raises(UserError):
        stability(run(*success), "group")


def test_a_folder_of_runs_and_a_pattern_mean_the_same_runs(tmp_path):
    folders = [write(tmp_path / f"demos-{seed}", 0, 1, 1, 1) for seed in (1, 2)]
    (tmp_path / "notes.txt").touch()
    assert run_folders([str(tmp_path)]) == folders
    assert run_folders([str(tmp_path / "*"), str(folders[0])]) == folders
    assert read(folders[0]).ratio == 1.0


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_evaluations_is_the_users_mistake(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        [read(folder) for folder in run_folders([str(tmp_path / name)])]
