"""When the guard stops, fails and passes."""

import math

import pytest
from nightly_guard import check, first_steps, is_decided, record, recorded_steps

from robobase.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A run with evaluations at 0, 1,000 and 2,000 env steps."""
    (tmp_path / "eval.csv").write_text(
        "step,env_steps,episode_success,episode_reward\n0,0,0,0\n1000,1000,0.5,0\n2000,2000,0.9,0\n"
    )
    return tmp_path


def test_training_goes_on_until_the_level_or_the_limit_is_reached(folder, tmp_path):
    assert is_decided(folder, level=0.9, limit=math.inf)
    assert is_decided(folder, level=0.95, limit=2000)
    assert not is_decided(folder, level=0.95, limit=2001)
    assert not is_decided(tmp_path / "not evaluated yet", level=0.9, limit=1)


def test_the_first_evaluation_at_the_level_is_what_counts(folder):
    assert first_steps(folder, 0.5) == 1000
    assert first_steps(folder, 0.95) == math.inf


@pytest.mark.parametrize(("steps", "limit"), [(2001, 2000), (math.inf, 2000), (math.inf, math.inf)])
def test_too_many_steps_are_an_error(steps, limit):
    with pytest.raises(UserError, match="90%"):
        check(steps, limit, 0.9)


def test_as_many_steps_as_allowed_pass():
    check(2000, 2000, 0.9)
    check(2000, math.inf, 0.9)


def test_a_record_is_read_back(tmp_path):
    file = tmp_path / "guard.yaml"
    with pytest.raises(UserError, match="--record"):
        recorded_steps(file)
    record(file, 20_000, 0.9)
    assert recorded_steps(file) == 20_000


@pytest.mark.parametrize("text", ["", "success: 0.9\n", "env_steps: many\n", "- 1\n", "a: [\n"])
def test_a_damaged_record_is_the_users_to_mend(tmp_path, text):
    file = tmp_path / "guard.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="--record"):
        recorded_steps(file)
