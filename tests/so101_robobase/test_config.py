"""Settings of the lift task: defaults, composition with Hydra, and mistakes."""

from dataclasses import fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from so101_robobase.base.settings import from_mapping
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.tasks.lift.config import LiftConfig

PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "cfgs/launch").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_module("robobase.cfgs", version_base=None):
        return compose("robobase_config", overrides=list(overrides))


def test_the_config_file_says_what_the_dataclasses_say():
    assert LiftConfig.from_cfg(composed("env=so101_lift")) == LiftConfig()


@pytest.mark.parametrize("group", ["visual", "physical"])
def test_every_range_of_randomisation_is_in_the_config_file(group):
    written = composed("env=so101_lift").env.randomization[group]
    assert list(written) == [f.name for f in fields(getattr(RandomizationConfig(), group))]


def test_choosing_the_environment_chooses_everything_that_training_needs():
    cfg = composed("env=so101_lift")
    assert cfg.method._target_ == "robobase.method.drqv2.DrQV2"
    assert cfg.env_factory._target_ == "so101_robobase.envs.factory.SO101Factory"
    assert (cfg.pixels, cfg.frame_stack, cfg.num_train_envs) == (True, 3, 16)


def test_a_method_on_the_command_line_wins_over_the_environments():
    assert composed("env=so101_lift", "method=bc").method._target_ == "robobase.method.bc.BC"


@pytest.mark.parametrize(
    ("observation", "kinds"),
    [("seg_depth", ["ids", "value"]), ("seg", ["ids"]), ("rgb", None), ("state", None)],
)
def test_the_encoder_is_told_what_the_channels_of_the_observation_hold(observation, kinds):
    encoder = composed("env=so101_lift", f"env.observation={observation}").method.encoder_model
    assert encoder.channel_kinds == kinds
    assert encoder.num_classes == 6


@pytest.mark.parametrize("launch", PRESETS)
def test_launch_presets_compose_to_a_valid_task_and_keep_overrides(launch):
    cfg = composed(f"launch={launch}", "env.stage=4", "num_train_envs=3")
    assert LiftConfig.from_cfg(cfg).stage_weights == ((4, 1.0),)
    assert cfg.num_train_envs == 3
    OmegaConf.to_container(cfg, resolve=True)


def test_pixels_false_selects_the_state_observation():
    assert LiftConfig.from_cfg(composed("env=so101_lift", "pixels=false")).observation == "state"


def test_top_level_keys_reach_the_task():
    cfg = composed("env=so101_lift", "action_repeat=4", "replay.gamma=0.9", "num_threads=1")
    config = LiftConfig.from_cfg(cfg)
    assert (config.action_repeat, config.discount, config.num_threads) == (4, 0.9, 1)


def test_a_mixture_of_stages_is_normalised_and_sorted():
    config = LiftConfig.from_cfg(composed("env=so101_lift", "env.stage={3: 3, 0: 1, 1: 0}"))
    assert config.stage_weights == ((0, 0.25), (3, 0.75))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"reward_version": "v99"}, "reward_version=v99 is not allowed; give v1, v2, v3"),
        ({"stage": 5}, "stage=5 is not allowed; give a stage (0, 1, 2, 3, 4), or a mixture"),
        ({"stage": {0: -1}}, "stage={0: -1} is not allowed"),
        ({"stage": {}}, "stage={} is not allowed"),
        ({"observation": "depth"}, "give seg_depth, seg, rgb or state"),
        ({"on_success": "stop"}, "give bootstrap, terminate, continue or bonus"),
        ({"renderer": "vulkan"}, "give auto, gl or ray"),
        (
            {"control": {"mode": "torque"}},
            "lift.control.mode=torque is not allowed; give joint",
        ),
        ({"image_size": -84}, "image_size=-84 is not allowed; give a whole number from 1 to 1024"),
        ({"episode_length": 0}, "episode_length=0"),
        ({"action_repeat": 1.5}, "action_repeat"),
        ({"hold_steps": 201}, "success would be impossible"),
        ({"lift_height": 0.02}, "a number above 0.04 and at most 0.5"),
        ({"cube_jitter": -0.1}, "cube_jitter=-0.1"),
        ({"cube_box": {"x": [0.3, 0.2]}}, "cube_box.x"),
        ({"cube_box": {"x": [0.3]}}, "cube_box.x=[0.3] is not allowed; give [lowest, highest]"),
        ({"cube_box": 3}, "must be a group of keys"),
        ({"scene": {"cube_mass": "heavy"}}, "scene.cube_mass=heavy is not allowed; give a number"),
        ({"scene": {"cube_mass": -1}}, "cube_mass"),
        ({"reward_verson": "v19"}, "lift.reward_verson is unknown; did you mean reward_version?"),
        (
            {"randomization": {"physical": {"cube_mass": [0.05, 0.01]}}},
            "randomization.physical.cube_mass=[0.05, 0.01] is not allowed; give [lowest, highest]",
        ),
        (
            {"randomization": {"physical": {"friction": [0, 1]}}},
            "randomization.physical.friction=[0, 1] is not allowed; give [lowest, highest], each a",
        ),
        (
            {"randomization": {"physical": {"camera_latency": [-1, 1]}}},
            "camera_latency=[-1, 1] is not allowed; give [lowest, highest], each a whole number",
        ),
        (
            {"randomization": {"physical": {"action_latency": [0, 1.5]}}},
            "lift.randomization.physical.action_latency=[0, 1.5] is not allowed",
        ),
        ({"randomization": {"physics": {}}}, "did you mean physical?"),
        (
            {"control": {"lock_wrist": 1}},
            "lock_wrist=1 is not allowed; give true or false",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(setting, message):
    with pytest.raises(UserError) as error:
        from_mapping(LiftConfig, setting, "lift")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
