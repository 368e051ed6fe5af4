import random

import numpy as np
import pytest
import torch
from torch import nn

from robobase import utils
from robobase.envs.env import Demo


def test_eval_mode_restores_each_models_own_mode():
    training, evaluating = nn.Dropout(), nn.Dropout().eval()
    modes = []

    def fail():
        modes.extend([training.training, evaluating.training])
        raise KeyError

    with pytest.raises(KeyError), utils.eval_mode(training, evaluating):
        fail()
    assert modes == [False, False]
    assert training.training
    assert not evaluating.training


def test_a_seed_fixes_torch_numpy_and_random():
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    utils.set_seed_everywhere(3)
    first = draw()
    utils.set_seed_everywhere(3)
    assert draw() == first


@pytest.mark.parametrize("into_target", [True, False])
def test_soft_update_averages_into_the_chosen_net(into_target):
    net, target = nn.Linear(2, 2), nn.Linear(2, 2)
    before = [p.detach().clone() for p in (net.weight, target.weight)]
    utils.soft_update_params(net, target, 0.1, update_second_net=into_target)
    average = 0.1 * before[0] + 0.9 * before[1]
    changed, kept = (target, net) if into_target else (net, target)
    torch.testing.assert_close(changed.weight.detach(), average)
    torch.testing.assert_close(kept.weight.detach(), before[0 if into_target else 1])


def test_soft_update_with_tau_one_copies_exactly():
    net, target = nn.Linear(5, 5), nn.Linear(5, 5)
    utils.soft_update_params(net, target, 1.0)
    assert torch.equal(net.weight, target.weight)


@pytest.mark.parametrize(
    ("module", "gain"), [(nn.Linear(3, 5), 1.0), (nn.Conv2d(2, 4, 3), 2.0**0.5)]
)
def test_weights_start_orthogonal_and_biases_at_zero(module, gain):
    utils.weight_init(module)
    matrix = module.weight.detach().flatten(1) / gain
    small = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    torch.testing.assert_close(small, torch.eye(len(small)), atol=1e-5, rtol=0)
    assert not module.bias.any()


def test_weight_init_resets_layer_norms_and_leaves_the_rest():
    norm, other = nn.LayerNorm(3), nn.Embedding(3, 3)
    nn.init.constant_(norm.weight, 5.0)
    before = other.weight.clone()
    for module in (norm, other, nn.Linear(2, 2, bias=False)):
        utils.weight_init(module)
    assert torch.equal(norm.weight, torch.ones(3))
    assert torch.equal(other.weight, before)


@pytest.mark.parametrize(("module", "fans"), [(nn.Linear(30, 10), 20), (nn.Conv2d(4, 8, 3), 6 * 9)])
def test_uniform_initialiser_fills_its_interval(module, fans):
    utils.uniform_weight_init(0.5)(module)
    limit = (3 * 0.5 / fans) ** 0.5
    assert 0.9 * limit < module.weight.abs().max() <= limit
    assert not module.bias.any()


def test_until_counts_in_repeated_actions_and_none_never_ends():
    until = utils.Until(10, action_repeat=2)
    assert [until(step) for step in (0, 4, 5)] == [True, True, False]
    assert utils.Until(None)(10**9)


def test_every_is_true_at_zero_and_at_multiples():
    every = utils.Every(10, action_repeat=2)
    assert [step for step in range(16) if every(step)] == [0, 5, 10, 15]
    assert not utils.Every(None)(0)
    assert not utils.Every(0)(0)
    assert utils.Every(1, action_repeat=2)(3)


def test_timer_measures_laps_and_the_total(monkeypatch):
    clock = iter([10.0, 12.0, 15.0, 16.0])
    monkeypatch.setattr(utils.time, "monotonic", lambda: next(clock))
    timer = utils.Timer()
    assert timer.reset() == (2.0, 2.0)
    assert timer.reset() == (3.0, 5.0)
    assert timer.total_time() == 6.0


def test_truncated_normal_clips_noise_and_value_and_passes_the_gradient_straight():
    loc = torch.tensor([-1.0, 0.0, 5.0], requires_grad=True)
    dist = utils.TruncatedNormal(loc, 0.5)
    assert torch.equal(dist.mean, loc)
    samples = dist.sample(clip=0.3, sample_shape=(1000,))
    assert samples.shape == (1000, 3)
    assert samples.abs().max() <= 1 - 1e-6
    assert samples[:, 1].abs().max() <= 0.3 + 1e-6
    assert samples[:, 2].min() > 0.99
    assert dist.sample(sample_shape=(1000,))[:, 1].abs().max() > 0.9
    samples.sum().backward()
    assert loc.grad.tolist() == [1000.0] * 3


def test_squashed_normal_is_a_tanh_with_the_right_density():
    loc, scale = torch.tensor([0.3]), torch.tensor([0.7])
    dist = utils.SquashedNormal(loc, scale)
    torch.testing.assert_close(dist.mean, torch.tanh(loc))
    samples = dist.sample(clip=0.1, sample_shape=(1000,))
    assert torch.atanh(samples).sub(loc).abs().max() <= 0.1 + 1e-4
    grid = torch.linspace(-0.9999, 0.9999, 200_001, dtype=torch.float64)[:, None]
    density = dist.log_prob(grid).exp().sum() * (grid[1] - grid[0])
    assert abs(float(density) - 1.0) < 1e-3


@pytest.mark.parametrize(
    ("spec", "step", "value"),
    [
        (0.3, 10, 0.3),
        ("0.2", 10, 0.2),
        ("linear(1.0,0.1,100)", 0, 1.0),
        ("linear(1.0, 0.1, 100)", 50, 0.55),
        ("linear(1.0,0.1,100)", 1000, 0.1),
        ("linear(1.0,0.1,0)", 0, 0.1),
        ("linear(1,1e-1,1e2)", 100, 0.1),
        ("step_linear(1,0.5,10,0,20)", 5, 0.75),
        ("step_linear(1,0.5,10,0,20)", 10, 0.5),
        ("step_linear(1,0.5,10,0,20)", 20, 0.25),
        ("step_linear(1,0.5,10,0,20)", 99, 0.0),
    ],
)
def test_schedules_follow_their_formula(spec, step, value):
    assert utils.schedule(spec, step) == pytest.approx(value)


@pytest.mark.parametrize("spec", ["cosine(1,2,3)", "linear(1,2)", "linear(a,b,c)", "", "linear"])
def test_unknown_schedules_are_refused(spec):
    with pytest.raises(NotImplementedError, match="schedule"):
        utils.schedule(spec, 0)


def test_demo_actions_are_rescaled_where_there_are_any():
    demos = [Demo([("o", {"demo": 1}), ("o", 0.0, True, False, {"demo_action": 2.0})])]
    rescaled = utils.rescale_demo_actions(lambda info, k: info["demo_action"] * k, demos, 3)
    assert rescaled[0][1][-1]["demo_action"] == 6.0
    assert rescaled[0][0][-1] == {"demo": 1}


def batches(demo, n, **more):
    while True:
        yield {"demo": torch.full((n,), demo), "x": torch.arange(n), **more}


def test_merged_batches_hold_experience_then_demonstrations():
    merged = utils.merge_replay_demo_iter(batches(0, 3), batches(0, 2))
    for _ in range(2):
        batch = next(merged)
        assert batch["demo"].tolist() == [0, 0, 0, 1, 1]
        assert batch["x"].tolist() == [0, 1, 2, 0, 1]


def test_merging_batches_with_other_keys_is_refused():
    merged = utils.DemoMergedIterator(batches(0, 3), batches(0, 2, y=torch.zeros(2)))
    with pytest.raises(AssertionError, match="'y'"):
        next(iter(merged))
