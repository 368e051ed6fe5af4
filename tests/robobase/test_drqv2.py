import copy
import io
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from nn_helpers import (
    HEAD,
    A,
    T,
    Z,
    encoder_model,
    make_batch,
    make_drqv2,
    observation_space,
)

from robobase import models
from robobase.errors import UserError
from robobase.intrinsic_reward_module import RND
from robobase.method.actor_critic import DistributionalCritic
from robobase.method.vision import Features

SPACE = observation_space()
STATE = observation_space(cameras=())


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def act(agent, space, batch=2, **kwargs):
    observations = {k: torch.as_tensor(v)[None].repeat_interleave(batch, 0)
                    for k, v in space.sample().items()}  # fmt: skip
    return agent.train(False).act(observations, **({"step": 0, "eval_mode": False} | kwargs))


def distributional(**overrides):
    critic = partial(models.MLPWithBottleneckFeatures, output_shape=[51, 1], **HEAD)
    keys = {"distributional_critic": True, "distributional_critic_atoms": 51}
    return make_drqv2(critic_model=critic, **keys, **overrides)


# --- learning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [False, True])
def test_the_critic_overfits_a_fixed_batch(ids):
    kinds = {"channel_kinds": ["ids", "value"], "num_classes": 6} if ids else {}
    agent = make_drqv2(encoder_model=encoder_model(**kinds), use_augmentation=False)
    agent.logging = True
    batch = make_batch(SPACE, size=32)
    for key in ("rgb", "rgb_tp1"):
        batch[key][:, :, 0] %= 6
    losses = [agent.update(itertools.repeat(batch), 0)["critic_loss"] for _ in range(150)]
    assert losses[-1] < losses[0] / 10


def test_the_actor_moves_to_the_action_that_pays():
    """A bandit: the reward is the negative squared distance to one fixed action."""
    agent = make_drqv2(STATE, actor_lr=1e-4)
    best = torch.tensor([0.5, -0.3])
    batch = make_batch(STATE, size=128)
    batch["low_dim_state"][:] = 1.0
    batch["terminal"][:] = 1
    batch["reward"] = -(batch["action"][:, 0] - best).square().sum(1)
    agent.actor_opt.param_groups[0]["lr"] = 0.0  # first the critic: it leads, the actor follows
    for _ in range(150):
        agent.update(itertools.repeat(batch), 0)
    agent.actor_opt.param_groups[0]["lr"] = 1e-4

    def distance():
        observations = {"low_dim_state": batch["low_dim_state"][:1]}
        return (agent.act(observations, 0, eval_mode=True)[0, 0] - best).norm().item()

    distances = [distance()]
    for _ in range(3):
        for _ in range(20):
            agent.update(itertools.repeat(batch), 0)
        distances.append(distance())
    assert min(distances) < 0.6 * distances[0]


# --- the target -------------------------------------------------------------------------------


def target(agent, batch, **changes):
    batch = agent.extract_batch(iter([batch | changes]))
    features = agent._observe_to_learn(batch, "_tp1", r"rgb.*tp1", {})
    torch.manual_seed(3)
    with torch.no_grad():
        y = agent.calculate_target_q(batch, batch["reward"], features, agent.critic_target, 0)
        torch.manual_seed(3)
        next_action = agent.policy(features, 0).sample(clip=agent.stddev_clip)
        qs = agent.critic_target(*features[:2], next_action, features.time_obs)
    return y.squeeze(1), batch["reward"].squeeze(1), qs.min(1).values


def test_target_bootstraps_with_the_discount_of_each_transition():
    discount = torch.linspace(0.1, 1, 16)
    y, reward, next_q = target(make_drqv2(STATE), make_batch(STATE), discount=discount)
    torch.testing.assert_close(y, reward + discount * next_q)


def test_target_stops_at_terminal_and_goes_on_where_truncated():
    terminal = torch.tensor([0, 1] * 8, dtype=torch.int8)
    truncated = torch.ones(16, dtype=torch.int8)
    batch = make_batch(STATE) | {"terminal": terminal, "truncated": truncated}
    y, reward, next_q = target(make_drqv2(STATE), batch)
    torch.testing.assert_close(y[1::2], reward[1::2])
    torch.testing.assert_close(y[::2], (reward + 0.97 * next_q)[::2])


def test_always_bootstrap_ignores_terminal():
    batch = make_batch(STATE) | {"terminal": torch.ones(16, dtype=torch.int8)}
    y, reward, next_q = target(make_drqv2(STATE, always_bootstrap=True), batch)
    torch.testing.assert_close(y, reward + 0.97 * next_q)


# --- which loss trains what -------------------------------------------------------------------


def test_the_actor_loss_reaches_the_actor_alone():
    agent = make_drqv2()
    batch = agent.extract_batch(iter([make_batch(SPACE)]))
    features = agent._observe_to_learn(batch, "", r"rgb(?!.*?tp1)", {})
    before = [parameters(m) for m in (agent.actor, agent.encoder, agent.critic)]
    agent.update_actor(batch, features, 0)
    after = [parameters(m) for m in (agent.actor, agent.encoder, agent.critic)]
    assert [same(*pair) for pair in zip(before, after, strict=True)] == [False, True, True]
    others = [*agent.encoder.parameters(), *agent.critic.parameters()]
    assert all(p.grad is None for p in others)
    assert all(p.requires_grad for p in others)


def test_the_critic_loss_trains_critics_and_encoder_alone():
    agent = make_drqv2()
    agent.actor_opt.param_groups[0]["lr"] = 0.0
    agent.critic_target_tau = 0.0
    watched = (agent.critic, agent.encoder, agent.actor, agent.critic_target)
    before = [parameters(m) for m in watched]
    agent.update(itertools.repeat(make_batch(SPACE)), 0)
    after = [parameters(m) for m in watched]
    assert [same(*pair) for pair in zip(before, after, strict=True)] == [False, False, True, True]


def test_the_target_follows_the_critic_by_tau():
    agent = make_drqv2(critic_target_tau=0.25)
    before = parameters(agent.critic_target)
    agent.update(itertools.repeat(make_batch(SPACE)), 0)
    for old, critic, new in zip(
        before, agent.critic.parameters(), agent.critic_target.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * critic)
        assert not new.requires_grad


def test_critics_start_different_and_targets_equal():
    agent = make_drqv2()
    q1, q2 = (parameters(q) for q in agent.critic.qs)
    assert not same(q1, q2)
    assert same(parameters(agent.critic), parameters(agent.critic_target))


def test_imitation_sees_demonstrations_alone():
    agent = make_drqv2(STATE, bc_lambda=2.0)
    batch = make_batch(STATE, size=4)
    batch["demo"] = torch.tensor([1, 0, 0, 1], dtype=torch.uint8)
    batch = agent.extract_batch(iter([batch]))
    prediction = batch["action"].clone()
    prediction[1:3] += 5.0
    assert agent.get_bc_loss(prediction, batch)[0] == 0
    prediction[0] += 1.0
    assert agent.get_bc_loss(prediction, batch)[0].item() == pytest.approx(1.0)
    batch["demo"][:] = 0
    assert agent.get_bc_loss(prediction, batch)[0] == 0


def test_gradients_are_clipped_by_their_common_norm():
    agent = make_drqv2(critic_grad_clip=1e-3)
    batch = agent.extract_batch(iter([make_batch(SPACE)]))
    features = agent._observe_to_learn(batch, "", r"rgb(?!.*?tp1)", {})
    agent.update_critic(batch, features, features.detach(), 0)
    trained = [*agent.critic.parameters(), *agent.encoder.parameters()]
    norm = torch.stack([p.grad.norm() for p in trained]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


def test_ids_stay_exact_through_shifts_and_encoding():
    agent = make_drqv2(encoder_model=encoder_model(channel_kinds=["ids", "value"], num_classes=6))
    batch = make_batch(SPACE, size=8)
    batch["rgb"][:, :, 0] %= 6
    seen = []
    agent.encoder.image_input.register_forward_hook(lambda _m, _i, out: seen.append(out))
    agent.update(itertools.repeat(batch), 0)
    planes, values = seen[0][:, : 6 * T], seen[0][:, 6 * T :]
    assert set(planes.unique().tolist()) == {0.0, 1.0}
    assert (planes.unflatten(1, (T, 6)).sum(2) == 1).all()
    levels = (values + 0.5) * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


# --- acting -----------------------------------------------------------------------------------


def test_actions_are_random_while_exploring_and_the_mean_in_evaluation():
    agent = make_drqv2(num_explore_steps=10, stddev_schedule="linear(1.0,0.0,100)")
    random = act(agent, SPACE, step=9)
    assert random.shape == (2, 1, A)
    assert not torch.equal(random[0], random[1])
    mean = act(agent, SPACE, step=9, eval_mode=True, batch=5)
    assert mean.shape == (5, 1, A)
    torch.testing.assert_close(mean[0], mean[1])
    noisy = act(agent, SPACE, step=10)
    assert not torch.equal(noisy[0], noisy[1])
    still = act(agent, SPACE, step=100)
    torch.testing.assert_close(still[0], still[1])
    assert random.abs().max() <= 1
    assert noisy.abs().max() <= 1


def test_noise_in_updates_is_clipped():
    agent = make_drqv2(STATE, stddev_schedule=5.0)
    features = Features(torch.zeros(512, T * Z), None, None)
    policy = agent.policy(features, 0)
    low = policy.mean - agent.stddev_clip - 1e-5
    high = policy.mean + agent.stddev_clip + 1e-5
    clipped = agent.sample_for_update(policy)
    assert ((clipped >= low) & (clipped <= high)).all()
    free = policy.sample()
    assert ((free < low) | (free > high)).any()


# --- every kind of observation ----------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        STATE,
        observation_space(cameras=("rgb",), channels=1),
        observation_space(cameras=("rgb", "rgb_wrist"), channels=3),
        observation_space(cameras=("rgb",), low_dim=False),
        observation_space(time=5),
    ],
    ids=["state", "seg", "two cameras", "pixels alone", "time"],
)
@pytest.mark.parametrize("on_channel", [True, False])
def test_every_observation_can_be_acted_on_and_learnt_from(space, on_channel):
    agent = make_drqv2(space, frame_stack_on_channel=on_channel)
    agent.logging = True
    metrics = agent.update(itertools.repeat(make_batch(space)), 0)
    assert all(np.isfinite(v).all() for v in metrics.values())
    assert {"critic_q1", "critic_q2", "critic_loss", "actor_loss", "mean_act"} <= metrics.keys()
    assert ("rgb" in metrics) == ("rgb_wrist" in space.spaces)
    assert act(agent, space).shape == (2, 1, A)
    agent.set_eval_env_running(True)
    assert act(agent, space, eval_mode=True, batch=3).shape == (3, 1, A)
    agent.reset(0, [0, 1, 2])


def test_attention_fusion_is_trained_with_its_own_loss_too():
    space = observation_space(cameras=("rgb", "rgb_wrist"))
    agent = make_drqv2(space, view_fusion_model=models.FusionMultiCamFeatureAttention)
    agent.logging = True
    before = parameters(agent.view_fusion)
    metrics = agent.update(itertools.repeat(make_batch(space)), 0)
    assert "view_fusion_aux_loss" in metrics
    assert not any(
        torch.equal(a, b) for a, b in zip(before, agent.view_fusion.parameters(), strict=True)
    )


def test_nothing_is_measured_unless_logging():
    assert make_drqv2().update(itertools.repeat(make_batch(SPACE)), 0) == {}


def test_time_without_anything_for_the_actor_is_a_user_error():
    space = spaces.Dict({"time": spaces.Box(0, 1, (T, 5), np.uint8)})
    with pytest.raises(UserError, match="at least one input"):
        make_drqv2(space)


# --- variants ---------------------------------------------------------------------------------


def test_distributional_critic_overfits_too():
    agent = distributional(use_augmentation=False)
    assert isinstance(agent.critic, DistributionalCritic)
    batch = make_batch(SPACE, size=16)
    batch["terminal"][:] = 1
    for _ in range(150):
        agent.update(itertools.repeat(batch), 0)
    batch = agent.extract_batch(iter([batch]))
    features = agent._observe_to_learn(batch, "", r"rgb(?!.*?tp1)", {})
    q = agent._q_values(agent.critic, features, batch["action"])
    assert (q - batch["reward"]).square().mean() < 0.1 * batch["reward"].var()


def test_distributional_critic_needs_a_model_of_as_many_atoms():
    with pytest.raises(ValueError, match="output_shape"):
        make_drqv2(distributional_critic=True)


def test_a_frozen_shared_encoder_is_not_implemented():
    with pytest.raises(NotImplementedError):
        make_drqv2(critic_updates_shared_vision_encoder=False)
    with pytest.raises(ValueError, match="action_sequence_network_type"):
        make_drqv2(action_sequence_network_type="lstm")


def test_priorities_follow_the_error_and_only_for_prioritised_batches():
    class Buffer:
        def __init__(self):
            self.calls = []

        def set_priority(self, indices, priorities):
            self.calls.append((indices, priorities))

    agent, buffer, batch = make_drqv2(STATE), Buffer(), make_batch(STATE)
    agent.update(itertools.repeat(batch), 0, buffer)
    assert buffer.calls == []
    batch["sampling_probabilities"] = torch.ones(16)
    batch["reward"][5] = 1000.0
    agent.update(itertools.repeat(batch), 0, buffer)
    indices, priorities = buffer.calls[0]
    assert indices.tolist() == list(range(16))
    assert priorities.argmax() == 5
    assert priorities.max() == pytest.approx(1.0)


def test_intrinsic_rewards_train_critics_of_their_own():
    rnd = RND(SPACE, spaces.Box(-1, 1, (1, A), np.float32), "cpu")
    agent = make_drqv2(intrinsic_reward_module=rnd)
    agent.logging = True
    before = parameters(agent.intr_critic), parameters(rnd.predictor)
    metrics = agent.update(itertools.repeat(make_batch(SPACE)), 0)
    assert "intrinsic_critic_loss" in metrics
    assert not same(before[0], parameters(agent.intr_critic))
    assert not same(before[1], parameters(rnd.predictor))


# --- saving -----------------------------------------------------------------------------------


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("intrinsic", [False, True])
def test_a_restored_agent_makes_the_same_next_updates_bit_for_bit(intrinsic):
    def make(seed):
        rnd = RND(SPACE, spaces.Box(-1, 1, (1, A), np.float32), "cpu") if intrinsic else None
        return make_drqv2(seed=seed, intrinsic_reward_module=rnd)

    batch = make_batch(SPACE)
    agent = make(0)
    for step in range(3):
        agent.update(itertools.repeat(batch), step)
    saved = through_a_file({"agent": agent.state_dict(), "training": agent.training_state()})
    restored = make(1)
    restored.load_state_dict(saved["agent"])
    restored.load_training_state(saved["training"])
    for one in (agent, restored):
        torch.manual_seed(7)
        for step in range(3, 6):
            one.update(itertools.repeat(batch), step)
    first, second = agent.state_dict(), restored.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_restored_agent_learns_at_the_rates_of_its_own_config():
    saved = make_drqv2(actor_lr=1e-3)
    saved.update(itertools.repeat(make_batch(SPACE)), 0)
    other = make_drqv2(actor_lr=1e-5)
    other.load_training_state(through_a_file(saved.training_state()))
    assert other.actor_opt.param_groups[0]["lr"] == 1e-5
    assert other.critic_opt.param_groups[0]["lr"] == saved.critic_opt.param_groups[0]["lr"]
    assert len(other.actor_opt.state) == len(saved.actor_opt.state) > 0


def test_state_dict_holds_tensors_alone_and_no_trace_of_the_environments():
    state = make_drqv2(frame_stack_on_channel=False).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    other = make_drqv2(frame_stack_on_channel=False, num_train_envs=7)
    other.load_state_dict(state)
    other.load_training_state(make_drqv2(frame_stack_on_channel=False).training_state())


def test_recurrent_states_are_part_of_the_training_state():
    agent = make_drqv2(frame_stack_on_channel=False)
    act(agent, SPACE)
    saved = copy.deepcopy(agent.training_state())
    agent.reset(0, [0, 1])
    agent.load_training_state(saved)
    assert (agent.actor.actor_model.hidden_state[:, :2] != 0).any()


# --- configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drqv2", "bc"])
def test_the_configured_method_can_be_built_and_learns(name):
    settings = [f"method={name}", "num_explore_steps=0", "num_pretrain_steps=200"]
    settings.append("+env={stddev_schedule: 'linear(1.0,0.1,500)'}")
    with initialize_config_module("robobase.cfgs", version_base=None):
        cfg = compose("robobase_config", overrides=settings)
    space = observation_space(size=84)
    agent = instantiate(
        cfg.method,
        observation_space=space,
        action_space=spaces.Box(-1, 1, (1, A), np.float32),
        device="cpu",
        num_train_envs=1,
        replay_alpha=0.7,
        replay_beta=0.5,
        frame_stack_on_channel=True,
        intrinsic_reward_module=None,
    )
    assert agent.is_rl == (name == "drqv2")
    agent.train().update(itertools.repeat(make_batch(space, size=2)), 0)
