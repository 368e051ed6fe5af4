"""Claims about loading a snapshot, with a small agent and a factory made for the purpose."""

import gymnasium as gym
import hydra
import numpy as np
import pytest
import torch
from gymnasium import spaces
from omegaconf import DictConfig, OmegaConf

from robobase import run_state, snapshot
from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from so101_robobase.evaluation.policy import load_policy


class Spaces(gym.Env):
    """Has the spaces that a config names; is never played."""

    def __init__(self, channels):
        self.observation_space = spaces.Dict(
            rgb=spaces.Box(0, 255, (2, channels, 16, 16), np.uint8),
            low_dim_state=spaces.Box(-9, 9, (2, 18), np.float32),
        )
        self.action_space = spaces.Box(-1, 1, (1, 6), np.float32)


class Factory(EnvFactory):
    """Makes `Spaces`."""

    def make_eval_env(self, cfg):
        if cfg.env.channels < 1:
            raise UserError("channels must be at least 1")
        return Spaces(cfg.env.channels)


HERE = (__name__.split(".")[0],)
OVERRIDES = [
    "method=drqv2",
    "pixels=true",
    "frame_stack=2",
    f"env_factory={{_target_: {__name__}.Factory}}",
    "+env={channels: 2, stddev_schedule: 0.1}",
    "method.encoder_model.channels=4",
    "method.actor_model.mlp_nodes=[8]",
    "method.critic_model.mlp_nodes=[8]",
]


def _agent(cfg: DictConfig, env: gym.Env):
    return hydra.utils.instantiate(
        cfg.method,
        device="cpu",
        observation_space=env.observation_space,
        action_space=env.action_space,
        num_train_envs=1,
        replay_alpha=0.7,
        replay_beta=0.5,
        frame_stack_on_channel=True,
        intrinsic_reward_module=None,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(path of a snapshot, the agent in it)."""
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", overrides=OVERRIDES)
    env = Factory().make_eval_env(cfg)
    torch.manual_seed(3)
    agent = _agent(cfg, env)
    path = tmp_path_factory.mktemp("run") / "snapshots" / "8_snapshot.pt"
    payload = {
        "cfg": OmegaConf.to_yaml(cfg),
        "spaces": run_state.describe_spaces(env.observation_space, env.action_space),
        "agent": agent.state_dict(),
        "training": agent.training_state(),
    }
    snapshot.write(path, payload)
    return path, agent


def _observation(count=None):
    rng = np.random.default_rng(0)
    lead = () if count is None else (count,)
    return {
        "rgb": rng.integers(0, 6, (*lead, 2, 2, 16, 16), np.uint8),
        "low_dim_state": rng.normal(size=(*lead, 2, 18)).astype(np.float32),
    }


def test_loaded_policy_has_the_weights_of_the_snapshot(trained):
    path, agent = trained
    policy = load_policy(path, trusted=HERE)
    for name, tensor in policy.agent.state_dict().items():
        assert torch.equal(tensor, agent.state_dict()[name]), name
    assert not policy.agent.training


def test_policy_answers_one_observation_or_many_alike(trained):
    policy = load_policy(trained[0], trusted=HERE)
    many = _observation(3)
    actions = policy.act(many)
    assert actions.shape == (3, 1, 6)
    one = policy.act({key: value[1] for key, value in many.items()})
    assert one.shape == (1, 6)
    np.testing.assert_allclose(one, actions[1], atol=1e-6)


def test_policy_answers_the_same_every_time(trained):
    policy = load_policy(trained[0], trusted=HERE)
    np.testing.assert_array_equal(policy.act(_observation()), policy.act(_observation()))


def test_other_observation_shape_names_both_shapes(trained):
    with pytest.raises(UserError, match=r"\(2, 2, 16, 16\).*\(2, 3, 16, 16\)"):
        load_policy(trained[0], trusted=HERE, overrides={"env.channels": 3})


def test_unknown_override_is_named(trained):
    with pytest.raises(UserError, match=r"env\.chanels=3: .* no such key"):
        load_policy(trained[0], trusted=HERE, overrides={"env.chanels": 3})


def test_user_error_of_the_factory_is_passed_on(trained):
    with pytest.raises(UserError, match="channels must be at least 1"):
        load_policy(trained[0], trusted=HERE, overrides={"env.channels": 0})


@pytest.mark.parametrize("target", ["os.system", "robobase.run_folder.os.system", "${seed}"])
def test_code_of_other_packages_in_the_config_is_not_run(trained, tmp_path, target):
    payload = snapshot.read(trained[0])
    cfg = OmegaConf.create(payload["cfg"])
    cfg.method.encoder_model._target_ = target
    path = tmp_path / "8_snapshot.pt"
    snapshot.write(path, {**payload, "cfg": OmegaConf.to_yaml(cfg)})
    with pytest.raises(UserError, match=r"wants to run .*--trust"):
        load_policy(path, trusted=HERE)


def test_unavailable_device_is_one_line(trained):
    with pytest.raises(UserError, match="device 'nonsense' cannot be used") as raised:
        load_policy(trained[0], trusted=HERE, device="nonsense")
    assert "\n" not in str(raised.value)


def test_missing_snapshot_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_policy(tmp_path / "snapshot.pt")


def test_a_folder_in_place_of_a_snapshot_is_named(tmp_path):
    with pytest.raises(UserError, match="is a folder without a snapshot; give a run folder"):
        load_policy(tmp_path)


def test_truncated_snapshot_is_named_and_a_good_one_offered(trained, tmp_path):
    good = tmp_path / "1_snapshot.pt"
    good.write_bytes(trained[0].read_bytes())
    bad = tmp_path / "2_snapshot.pt"
    bad.write_bytes(trained[0].read_bytes()[:-500])
    with pytest.raises(UserError, match=r"2_snapshot.pt is damaged .*; use .*1_snapshot.pt"):
        load_policy(bad)


def test_file_that_is_no_snapshot_of_a_run_is_named(tmp_path):
    snapshot.write(tmp_path / "weights.pt", {"agent": {}})
    with pytest.raises(UserError, match="it has no cfg, spaces, training"):
        load_policy(tmp_path / "weights.pt")


def test_snapshot_with_code_inside_is_refused(tmp_path):
    class Boom:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"cfg": Boom()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="it names code: '__builtin__ exec'"):
        load_policy(tmp_path / "evil.pt")
