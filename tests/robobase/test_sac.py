"""SAC: its distribution, its losses, its temperature, and that it learns."""

import copy
import itertools
import math

import pytest
import torch
from learning import DEEPER_ENCODER, success_and_seconds
from nn_helpers import make_batch, make_sac, observation_space
from test_workspace_resume import EXACT, assert_same_run, train
from tiny_task import tiny_config

from robobase.errors import UserError
from robobase.intrinsic_reward_module import RND
from robobase.method.sac import sample_with_log_prob
from robobase.utils import SquashedNormal
from robobase.workspace import Workspace

SPACE = observation_space()
STATE = observation_space(cameras=())


def bandit(best=(0.5, -0.3)):
    """Batches in which the reward is the negative squared distance of the action to `best`."""
    for seed in itertools.count():
        batch = make_batch(STATE, size=64, seed=seed)
        batch["low_dim_state"][:] = 1.0
        batch["terminal"][:] = 1
        batch["reward"] = -(batch["action"][:, 0] - torch.tensor(best)).square().sum(1)
        yield batch


# --- the squashed Gaussian --------------------------------------------------------------------


def test_log_prob_is_that_of_the_normal_less_the_log_slope_of_tanh():
    mean, std = torch.tensor([[[0.3, -0.2]]]), torch.tensor([[[0.5, 0.1]]])
    action, log_prob = sample_with_log_prob(SquashedNormal(mean, std))
    expected = 0.0
    for a, m, s in zip(action.flatten(), mean.flatten(), std.flatten(), strict=True):
        u = math.atanh(a.item())
        normal = -0.5 * ((u - m.item()) / s.item()) ** 2 - math.log(s.item() * math.sqrt(math.tau))
        expected += normal - math.log(1 - a.item() ** 2)
    assert log_prob.shape == (1, 1)
    assert log_prob.item() == pytest.approx(expected, abs=1e-4)


def test_the_density_over_actions_integrates_to_one():
    edges = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    policy = SquashedNormal(torch.full_like(middles, 0.7), torch.full_like(middles, 0.8))
    assert policy.log_prob(middles).exp().mean().item() * 2 == pytest.approx(1.0, abs=1e-4)


def test_log_prob_is_exact_where_tanh_saturates():
    mean, std = torch.full((4, 1, 2), 12.0), torch.full((4, 1, 2), 0.5)
    torch.manual_seed(0)
    action, log_prob = sample_with_log_prob(SquashedNormal(mean, std))
    torch.manual_seed(0)
    u = torch.normal(torch.zeros(4, 1, 2), torch.ones(4, 1, 2)).double() * 0.5 + 12.0
    normal = -0.5 * ((u - 12.0) / 0.5) ** 2 - math.log(0.5 * math.sqrt(math.tau))
    log_slope = math.log(4) - 2 * u  # of tanh at u >> 1: 4 exp(-2 u)
    assert (action == 1).all()
    expected = (normal - log_slope).flatten(1).sum(1, keepdim=True)
    torch.testing.assert_close(log_prob.double(), expected, rtol=1e-5, atol=1e-4)


def test_standard_deviations_stay_within_their_bounds():
    agent = make_sac(STATE, log_std_bounds=(-3, 1))
    observations = {"low_dim_state": torch.randn(64, *STATE["low_dim_state"].shape)}
    with torch.no_grad():
        for parameter in agent.actor.parameters():
            parameter.mul_(50)
        scale = agent.policy(agent.observe(observations), 0).scale
    assert math.exp(-3) <= scale.min() < 0.1
    assert 2 < scale.max() <= math.exp(1) + 1e-5


def test_evaluation_takes_the_tanh_of_the_mean():
    agent = make_sac(STATE).train(False)
    observations = {"low_dim_state": torch.randn(3, *STATE["low_dim_state"].shape)}
    expected = torch.tanh(agent.policy(agent.observe(observations), 0).loc)
    torch.testing.assert_close(agent.act(observations, 0, eval_mode=True), expected)
    first, second = (agent.act(observations, 0, eval_mode=False) for _ in range(2))
    assert not torch.equal(first, second)


# --- learning ---------------------------------------------------------------------------------


def test_the_target_pays_alpha_for_entropy_until_the_end():
    agent = make_sac(STATE, init_temperature=0.7)
    terminal = torch.tensor([0, 1] * 8, dtype=torch.int8)
    batch = agent.extract_batch(iter([make_batch(STATE) | {"terminal": terminal}]))
    features = agent._observe_to_learn(batch, "_tp1", r"rgb.*tp1", {})
    with torch.no_grad():
        torch.manual_seed(3)
        y = agent.calculate_target_q(batch, batch["reward"], features, agent.critic_target, 0)
        torch.manual_seed(3)
        action, log_prob = sample_with_log_prob(agent.policy(features, 0))
        q = agent.critic_target(*features[:2], action, features.time_obs).min(1, keepdim=True)
    soft_value = q.values - 0.7 * log_prob
    torch.testing.assert_close(y[::2], (batch["reward"] + 0.97 * soft_value)[::2])
    torch.testing.assert_close(y[1::2], batch["reward"][1::2])


def test_intrinsic_critics_do_not_count_the_entropy_again():
    module = RND(STATE, make_sac(STATE).action_space, "cpu", lr=1e-3)
    agent = make_sac(STATE, intrinsic_reward_module=module, init_temperature=100.0)
    agent.logging = True
    agent.update(itertools.repeat(make_batch(STATE)), 0)
    batch = agent.extract_batch(iter([make_batch(STATE)]))
    features = agent._observe_to_learn(batch, "_tp1", r"rgb.*tp1", {})
    values = [
        agent.next_value(features, critic, 0).abs().max().item()
        for critic in (agent.critic_target, agent.intr_critic_target)
    ]
    assert values[0] > 50 > 10 > values[1]


def test_the_actor_loss_is_alpha_log_pi_less_the_smallest_q():
    agent = make_sac(STATE, init_temperature=0.7)
    agent.logging = True
    batch = agent.extract_batch(iter([make_batch(STATE)]))
    features = agent._observe_to_learn(batch, "", r"rgb(?!.*?tp1)", {})
    torch.manual_seed(3)
    action, log_prob = sample_with_log_prob(agent.policy(features, 0))
    q = agent.critic(*features[:2], action, features.time_obs).min(1, keepdim=True).values
    torch.manual_seed(3)
    metrics = agent.update_actor(batch, features, 0)
    assert metrics["actor_loss"] == pytest.approx((0.7 * log_prob - q).mean().item(), rel=1e-5)


def test_the_temperature_gradient_is_minus_alpha_times_the_missing_entropy():
    agent = make_sac(STATE, init_temperature=0.2, target_entropy=-2.0)
    agent.update_temperature(torch.tensor([[4.0], [6.0]]))
    assert agent.log_alpha.grad is not None
    assert agent.log_alpha.grad.item() == pytest.approx(-0.2 * (5.0 - 2.0), rel=1e-5)
    assert agent.log_alpha.exp() > 0.2  # the policy is too certain: entropy gains value
    agent = make_sac(STATE, init_temperature=0.2, target_entropy=-2.0)
    agent.update_temperature(torch.tensor([[-1.0], [1.0]]))
    assert agent.log_alpha.exp() < 0.2


@pytest.mark.parametrize("target_entropy", [-2.0, 0.5])
def test_the_temperature_brings_the_entropy_to_its_target(target_entropy):
    agent = make_sac(STATE, temperature_lr=3e-2, target_entropy=target_entropy)
    batches = bandit()
    entropies = []
    for step in range(300):
        agent.logging = step >= 200
        metrics = agent.update(batches, step)
        entropies += [metrics["actor_ent"]] if agent.logging else []
    assert sum(entropies) / len(entropies) == pytest.approx(target_entropy, abs=0.5)


def test_the_actor_finds_the_action_that_pays():
    agent = make_sac(STATE, init_temperature=0.1, temperature_lr=0.0)
    batches = bandit()
    for step in range(550):  # first the critic alone: it leads, the actor follows
        agent.actor_opt.param_groups[0]["lr"] = 0.0 if step < 300 else 3e-4
        agent.update(batches, step)
    observations = {"low_dim_state": torch.ones(1, *STATE["low_dim_state"].shape)}
    action = agent.act(observations, 0, eval_mode=True)[0, 0]
    assert (action - torch.tensor([0.5, -0.3])).norm() < 0.2


def test_images_are_shifted_in_learning_and_left_alone_in_acting():
    agent = make_sac(SPACE)
    pixels = agent.extract_pixels(make_batch(SPACE))
    torch.manual_seed(0)
    shifted = agent.augment(pixels)
    assert shifted.shape == pixels.shape
    assert not torch.equal(shifted, pixels)
    agent.train(False)
    observations = {key: torch.as_tensor(value)[None] for key, value in SPACE.sample().items()}
    actions = [agent.act(observations, 0, eval_mode=True) for _ in range(2)]
    assert torch.equal(*actions)


# --- state ------------------------------------------------------------------------------------


def test_state_dict_holds_tensors_alone_and_the_temperature():
    state = make_sac().state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert "log_alpha" in state


def test_learning_goes_on_exactly_from_a_file(tmp_path):
    agent, batch = make_sac(), make_batch(SPACE)
    for _ in range(3):
        agent.update(itertools.repeat(batch), 0)
    saved = {"agent": agent.state_dict(), "training": agent.training_state()}
    torch.save(copy.deepcopy(saved), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other = make_sac(seed=5)
    other.load_state_dict(saved["agent"])
    other.load_training_state(saved["training"])
    for each in (agent, other):
        torch.manual_seed(7)
        for _ in range(3):
            each.update(itertools.repeat(batch), 0)
    first, second = agent.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    "wrong", [{"log_std_bounds": (2, -10)}, {"init_temperature": 0.0}], ids=lambda w: next(iter(w))
)
def test_impossible_settings_are_refused_in_one_line(wrong):
    with pytest.raises(UserError) as caught:
        make_sac(STATE, **wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [True, False])
def test_a_resumed_sac_run_equals_an_unbroken_one(tmp_path, pixels):
    keys = [*EXACT, "method=sac", f"pixels={pixels}", "num_train_frames=500"]
    train(tmp_path / "unbroken", *keys)
    earlier = tmp_path / "unbroken" / "snapshots" / "300_snapshot.pt"
    train(tmp_path / "resumed", *keys, f"resume_from={earlier}")
    assert_same_run(tmp_path / "unbroken", tmp_path / "resumed")


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True], ids=["state", "pixels"])
def test_sac_reaches_the_target_in_under_three_minutes(tmp_path, pixels):
    config = tiny_config(
        "method=sac",
        f"pixels={pixels}",
        "num_train_envs=8",
        f"num_train_frames={20_000 if pixels else 8_000}",
        "num_explore_steps=1000",
        "replay_size_before_train=1000",
        "utd_ratio=0.25",
        "batch_size=64",
        "replay.gamma=0.9",
        "eval_every_steps=null",
        "save_snapshot=false",
        "log_every=1000",
        "method.temperature_lr=1e-3",
        *DEEPER_ENCODER,
    )
    success, seconds = success_and_seconds(Workspace(config, work_dir=tmp_path))
    assert success >= 0.9
    assert seconds < 180
