"""Claims about a person's own environment: its snapshots and `evaluate --trust`."""

import sys

import pytest
from tiny_snapshot import save_tiny_snapshot

from so101_robobase.base import cli

MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

from robobase.envs.env import EnvFactory
from so101_robobase.envs.factory import SO101Factory


class Derived(SO101Factory):
    pass


class Spaces(gym.Env):
    observation_space = spaces.Dict(low_dim_state=spaces.Box(-9, 9, (2, 21), np.float32))
    action_space = spaces.Box(-1, 1, (1, 6), np.float32)


class Other(EnvFactory):
    def make_eval_env(self, cfg):
        return Spaces()

    def make_eval_vector_env(self, cfg, num_envs):
        raise AssertionError("not asked for")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Arguments of `evaluate` for a snapshot of the factory `name` in a module of one's own."""
    (tmp_path / "my_task.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: [
        "evaluate",
        str(
            save_tiny_snapshot(
                tmp_path / name,
                "pixels=false",
                "env.observation=state",
                "env.episode_length=12",
                f"env_factory._target_=my_task.{name}",
            )
        ),
        *("--num_episodes", "1", "--no_video", "--trust", "my_task"),
    ]
    sys.modules.pop("my_task", None)


def test_a_derived_environment_is_evaluated(own):
    assert cli.main(own("Derived")) == 0


def test_another_environment_is_told_what_is_missing(own, capsys):
    assert cli.main(own("Other")) == 2
    error = capsys.readouterr().err
    assert "the snapshot's environments are those of my_task.Other" in error
    assert "num_train_envs=0 resume_from=<snapshot>" in error
    assert error.count("\n") == 1


def test_a_trusted_package_that_cannot_be_found_is_named(own, capsys, monkeypatch):
    words = own("Derived")
    sys.modules.pop("my_task", None)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != sys.path[0]])
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert "cannot be imported" in error
    assert "is the folder of my_task on PYTHONPATH?" in error
