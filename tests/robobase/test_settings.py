"""Kinds of settings, what a person typed, and what they may have meant."""

import math
import sys

import pytest
from test_train_cli import in_process

from robobase.errors import UserError
from robobase.models import core
from robobase.schedules import schedule
from robobase.settings import kinds
from robobase.settings.method_settings import ACTIVATIONS, ENCODER_NORMS, HEAD_NORMS


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (kinds.Whole(1, 10), [1, 10, 1e1], [0, 11, 1.5, "1", True, None, math.nan, math.inf, [1]]),
        (kinds.Number(0, 1), [0, 1, 0.5], [-1e-9, 1.1, "0", False, None, math.nan, 10**400]),
        (kinds.Number(above=0), [1e-300], [0, -1, math.inf]),
        (kinds.Flag(), [True, False], [0, 1, "true", None, "maybe"]),
        (kinds.Choice("a", True), ["a", True], ["b", 1, None, []]),
        (kinds.Text(), ["runs/a b", 5], ["", " ", "a\nb", None, True, "???", [], "x" * 5000]),
        (kinds.OrNull(kinds.Flag()), [None, True], [0, ""]),
        (kinds.Items(kinds.Whole(1), 1, 2), [[1], (1, 2)], [[], [0], [1, 1, 1], "12", {1: 1}, 3]),
        (kinds.Range(kinds.Number(0, 9)), [[0, 9], (3, 3)], [[2, 1], [0], [math.nan, 1], 3, None]),
        (kinds.Weights("a", "b"), [{"a": 1, "b": 0}], [{}, {"a": 0}, {"c": 1}, {"a": -1}, 1, [1]]),
        (
            kinds.Schedule(0, 1),
            [0.5, "0.5", "linear(1,0,10)", "step_linear(1,.5,9,0,9)"],
            ["linear(1,0)", "linear(1,0,0)", "linear(2,0,9)", "linear(1,nan,9)", "no", -1, None],
        ),
        (kinds.Filled(), ["???"], [None, 3, ""]),
        (kinds.Target(), ["a.b.C"], ["C", "a..b", "a.b(c)", 3, None, "a b.c"]),
    ],
    ids=str,
)
def test_a_kind_allows_what_it_says(kind, good, bad):
    for value in good:
        kinds.checked(kind, "key", value)
    for value in bad:
        with pytest.raises(UserError, match=r"key=.* is not allowed; give ") as error:
            kinds.checked(kind, "key", value)
        assert "\n" not in str(error.value)


def test_a_value_is_shown_as_it_was_typed():
    values = (None, True, "1", 1, "abc", "", {"a": 1}, "x" * 99)
    shown = [kinds.shown(value) for value in values]
    assert shown[:7] == ["null", "true", "'1'", "1", "abc", "''", "{'a': 1}"]
    assert len(shown[7]) < 70


def test_names_of_activations_and_norms_are_those_that_models_know():
    assert set(ACTIVATIONS) == set(core._ACTIVATIONS) - {"glu"}  # which halves the width
    assert {*ENCODER_NORMS, *HEAD_NORMS} == set(core._NORMS)


def test_a_schedule_passes_through_all_its_parts():
    assert [schedule("step_linear(1,0.5,10,0,10)", s) for s in (0, 5, 10, 15, 20, 99)] == [
        *(1.0, 0.75, 0.5, 0.25, 0.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["num_train_frams=1"],
            "num_train_frams is no setting of this run; did you mean num_",
        ),
        (["replay.gama=1"], "did you mean replay.gamma?"),
        (["gamma=0.9"], "did you mean replay.gamma?"),
        (["stddev_schedule=1"], "did you mean "),
        (["method.actor_lrr=1"], "did you mean method.actor_lr?"),
        (
            ["method=drq"],
            "method=drq is unknown; known: bc, dagger, drqv2, none, ppo, sac",
        ),
        (["seed=1,2"], "add --multirun"),
        (["batch_size={a"], "error: "),
        (["method=null"], "no method is chosen"),
        (["method=dagger", "env.teacher=true", "method.critic_lr=1"], "method.critic_lr"),
        (["replay.alpha=0.5"], "replay.alpha=0.5 (read only with replay.prioritization on"),
        (["+method.stddev_clp=0.5"], "DrQV2 does not take it; did you mean stddev_clip?"),
        (["seed='-1'"], "seed='-1' is not allowed; give a whole number"),
    ],
)
def test_a_mistyped_or_idle_setting_is_told_in_one_line(
    monkeypatch, capsys, tmp_path, overrides, message
):
    code, err = in_process(monkeypatch, capsys, tmp_path, "num_gpus=0", *overrides)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "HYDRA_FULL_ERROR" not in err
    assert "+env" not in err


def test_a_mistake_is_told_before_torch_is_imported(tmp_path):
    import subprocess

    code = (
        "import sys\n"
        "sys.argv = ['train', 'env=so101_lift', 'env.cube_jitter=inf']\n"
        "from robobase import train\n"
        "try:\n    train.main()\nexcept SystemExit as stop:\n    assert stop.code == 2\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "env.cube_jitter=inf is not allowed" in done.stderr
