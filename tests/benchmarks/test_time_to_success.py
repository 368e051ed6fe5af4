"""What time_to_success says of runs that are known."""

import math

import numpy as np
import pytest
from _runs import Training, markdown_table, split_overrides
from omegaconf import OmegaConf
from time_to_success import (
    HEADER,
    Outcome,
    Score,
    first_reaching,
    learning_rates,
    parse,
    rates,
    rows,
)

from robobase.errors import UserError
from so101_robobase.experiments.runs import Run

NEVER = math.inf, math.inf


def outcome(seed, *first, preset="demos", successes=100, **changes):
    score = Score(successes, 100)
    figures = {"env_steps": 60_000, "seconds": 300.0} | changes
    return Outcome(preset, seed, first, best=score, last=score, **figures)


def test_the_first_evaluation_at_a_level_counts_even_where_success_falls_again():
    success = np.array([0.0, 0.9, 0.5, 0.94, 1.0])
    run = Run("run", np.arange(5) * 1000.0, np.arange(5) * 60.0, success, success)
    assert first_reaching(run) == ((1000.0, 60.0), (4000.0, 240.0))


def test_a_level_that_is_never_reached_is_infinitely_far():
    success = np.array([0.0, 0.91, np.nan])
    run = Run("run", np.arange(3) * 1000.0, np.arange(3) * 60.0, success, success)
    assert first_reaching(run) == ((1000.0, 60.0), NEVER)


def test_a_seed_that_never_gets_there_counts_as_the_slowest():
    runs = [outcome(seed, first, NEVER) for seed, first in enumerate([(10, 1), (30, 3), NEVER])]
    *_, pooled = rows(runs)
    assert pooled[2] == "**2 of 3 seeds; median 30 / 3 s; worst –**"
    assert pooled[3] == "**0 of 3 seeds; median –; worst –**"


def test_pooled_success_is_over_the_episodes_of_all_seeds():
    runs = [outcome(seed, NEVER, NEVER, successes=n) for seed, n in enumerate([100, 50])]
    pooled = rows(runs)[-1]
    assert pooled[4].startswith("**75.0% (")
    assert pooled[4] == f"**{Score(150, 200)}**"


def test_each_preset_with_several_seeds_has_a_row_of_its_own():
    runs = [outcome(1, NEVER, NEVER), outcome(2, NEVER, NEVER, resumed=True)]
    table = rows([*runs, outcome(1, NEVER, NEVER, preset="reference")])
    assert [row[:2] for row in table] == [
        ["demos", "1"],
        ["demos", "2, resumed"],
        ["**demos**", "**all 2**"],
        ["reference", "1"],
    ]
    assert {len(row) for row in table} == {len(HEADER)}


def test_rates_are_relative_to_the_reference():
    reference = outcome(1, NEVER, NEVER, preset="reference", env_steps=3000, learning=(5.0, 2.0))
    ours = [
        outcome(seed, NEVER, NEVER, learning=(rate, 30.0)) for seed, rate in ((1, 90), (2, 110))
    ]
    _, table = rates([*ours, reference])
    assert table[0] == ["demos", "200.0", "20.0", "100.0", "20.0", "30.0", "15.0"]
    assert table[1] == ["reference", "10.0", "1.0", "5.0", "1.0", "2.0", "1.0"]


def test_a_reference_that_did_not_learn_yet_gives_no_ratio():
    runs = [outcome(1, NEVER, NEVER, learning=(9.0, 3.0)), outcome(1, NEVER, NEVER, preset="old")]
    assert rates(runs)[1][0] == ["demos", "200.0", "1.0", "9.0", "–", "3.0", "–"]


def test_learning_rates_leave_out_what_came_before_the_first_update():
    columns = ["step", "total_time", "env_steps", "updates"]
    rows = [["", "1", "900", "0"], ["", "2", "1000", "5"], ["", "4", "1200", "25"]]
    assert learning_rates(columns, rows) == (100.0, 10.0)
    assert all(map(math.isnan, learning_rates(columns, rows[:2])))
    assert all(map(math.isnan, learning_rates(columns, [])))


def test_a_table_is_markdown():
    text = markdown_table(["run", "ratio"], [["a", "1.00"]])
    assert text == "| run | ratio |\n| --- | ---: |\n| a | 1.00 |"


def test_overrides_stand_after_two_dashes():
    assert split_overrides(["launch=demos", "--", "a=1", "b=2"]) == (
        ["launch=demos"],
        ("a=1", "b=2"),
    )
    assert split_overrides(["launch=demos"]) == (["launch=demos"], ())


@pytest.mark.parametrize(
    "words", ["demos", "launch=demos --jobs 0", "launch=demos --num_episodes 0"]
)
def test_a_mistaken_command_line_is_the_users(words):
    with pytest.raises(UserError):
        parse(words.split())


@pytest.mark.parametrize(
    ("preset", "extra"),
    [("nope", ""), ("smoke", "nope=1"), ("smoke", "seed=2"), ("smoke", "hydra.run.dir=x")],
)
def test_settings_are_checked_before_anything_runs(tmp_path, preset, extra):
    with pytest.raises(UserError):
        Training(preset, 1, tmp_path, tuple(extra.split())).check()


def test_a_finished_run_with_other_settings_is_not_taken_for_this_one(tmp_path):
    training = Training("smoke", 1, tmp_path)
    training.folder.mkdir()
    stored = training.folder / "config.yaml"
    stored.write_text(OmegaConf.to_yaml(OmegaConf.merge(training.cfg, {"num_threads": 2})))
    training.check()  # threads are what the machine gives
    stored.write_text(OmegaConf.to_yaml(OmegaConf.merge(training.cfg, {"batch_size": 7})))
    with pytest.raises(UserError, match="batch_size: 7 -> 32"):
        training.check()
