"""The ready sweeps: `python -m robobase.train -m +sweep=...`."""

import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from robobase import overrides, sanity, search, sweep, train
from robobase.settings.readers import check_effect
from robobase.settings.task import task_settings

SWEEPS = {"reward_versions": 8, "observations": 3, "curriculum": 4, "robustness": 6}  # per seed


def grid(*words: str) -> list[tuple[str, ...]]:
    """What `-m <words>` runs."""
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        single = [word for word in words if "," not in word]
        config = hydra.compose("robobase_config", single, return_hydra_config=True)
    config.hydra.overrides.task = list(words)
    return sweep.grid(config)


def test_every_ready_sweep_is_listed_here():
    folder = Path(__file__).parents[2] / "cfgs" / "sweep"
    assert {file.stem for file in folder.glob("*.yaml")} == {*SWEEPS, "search"}


@pytest.mark.parametrize(("name", "jobs"), SWEEPS.items())
def test_each_job_of_a_ready_sweep_can_be_trained(monkeypatch, name, jobs):
    words = [f"+sweep={name}", "launch=teacher"]
    assert len(grid(*words)) == 3 * jobs
    found = grid(*words, "seed=7")
    assert len(found) == jobs
    configs = set()
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        for job in found:
            cfg = hydra.compose("robobase_config", list(job), return_hydra_config=True)
            monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
            typed = overrides.given()
            assert typed
            with open_dict(cfg):
                del cfg["hydra"]
            sanity.check(cfg)
            check_effect(cfg, typed, task_settings(cfg).settings())
            assert cfg.seed == 7
            configs.add(OmegaConf.to_yaml(cfg))
    assert len(configs) == jobs


@pytest.mark.parametrize("launch", ["demos", "state", "from_scratch"])
def test_trials_of_the_ready_search_can_be_trained(launch):
    pytest.importorskip("optuna", reason="optuna is not installed; the extra search brings it")
    words = ["+sweep=search", f"launch={launch}"]
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        config = hydra.compose("robobase_config", words, return_hydra_config=True)
        assert config.hydra.sweeper._target_.endswith("SearchSweeper")
        space = search.space(sweep.words(config))
        assert space.fixed == tuple(words)
        cfg = hydra.compose("robobase_config", space.example())
    sanity.check(cfg)
    assert cfg.method.actor_lr == cfg.method.critic_lr == 1e-4


def test_what_is_typed_wins_over_a_ready_sweep():
    found = grid("+sweep=reward_versions", "env.reward_version=v11,v19", "seed=4", "batch_size=8,9")
    assert {word for job in found for word in job if word.startswith("env.")} == {
        "env.reward_version=v11",
        "env.reward_version=v19",
    }
    assert len(found) == 4
    assert all("seed=4" in job for job in found)


def test_physics_of_the_robustness_sweep_are_what_they_are_called():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        physics = {
            name: hydra.compose("robobase_config", ["env=so101_lift", f"+physics={name}"])
            for name in ("nominal", "delays", "random")
        }
        default = hydra.compose("robobase_config", ["env=so101_lift"])
    assert physics["nominal"] == default
    random = physics["random"].env.randomization.physical
    delays = physics["delays"].env.randomization.physical
    for name, value in delays.items():
        if name in ("enabled", "action_latency", "camera_latency"):
            assert value == random[name]
        else:  # nothing that varies
            assert value is None or value[0] == value[1], name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["+sweep=curriculum", "launch=state"],
            "this is a sweep over env.stage, env.eval_stage, seed: add -m, "
            "python -m robobase.train -m +sweep=curriculum launch=state",
        ),
        (["sweep=curriculum"], "did you mean +sweep=curriculum?"),
        (["+sweep=rewards"], "sweep=rewards is unknown; known: curriculum, observations"),
    ],
)
def test_a_sweep_without_multirun_or_a_plus_is_one_line(
    monkeypatch, capsys, tmp_path, words, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", *words])
    with pytest.raises(SystemExit) as stop:
        train.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert message in line
    assert not list(tmp_path.iterdir())
