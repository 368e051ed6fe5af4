import numpy as np
import pytest
import torch
from gymnasium import spaces
from nn_helpers import A, make_batch, observation_space

from robobase.intrinsic_reward_module import ICM, RND

ACTIONS = spaces.Box(-1, 1, (1, A), np.float32)
SPACES = {
    "state": observation_space(cameras=()),
    "pixels": observation_space(cameras=("rgb", "rgb_wrist"), size=32),
}


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("module", [RND, ICM])
def test_rewards_have_one_column_and_shrink_with_time(module, kind):
    torch.manual_seed(0)
    module, batch = module(SPACES[kind], ACTIONS, "cpu"), make_batch(SPACES[kind])
    reward = module.compute_irs(batch)
    assert reward.shape == (16, 1)
    assert reward.dtype == torch.float32
    assert not reward.requires_grad
    assert (reward >= 0).all()
    assert reward.max() > 0
    later = module.compute_irs(batch, step=1000)
    torch.testing.assert_close(later, reward * (1 - module.kappa) ** 1000)


def test_rnd_rewards_are_scaled_by_beta_within_a_batch():
    module = RND(SPACES["state"], ACTIONS, "cpu", beta=0.5)
    reward = module.compute_irs(make_batch(SPACES["state"]))
    assert reward.min() == 0
    assert reward.max().item() == pytest.approx(0.5)


def test_icm_gets_used_to_what_it_has_seen():
    torch.manual_seed(0)
    module, batch = ICM(SPACES["state"], ACTIONS, "cpu"), make_batch(SPACES["state"])
    before = module.compute_irs(batch).mean()
    for _ in range(100):
        module.update(batch)
    assert module.compute_irs(batch).mean() < 0.5 * before


def test_rnd_prefers_what_it_has_not_seen():
    torch.manual_seed(0)
    module = RND(SPACES["state"], ACTIONS, "cpu")
    known, new = (make_batch(SPACES["state"], seed=seed) for seed in (0, 1))
    for _ in range(200):
        module.update(known)
    both = {
        "low_dim_state_tp1": torch.cat([known["low_dim_state"], new["low_dim_state"]]),
    }
    reward = module.compute_irs(both)
    assert reward[:16].mean() < 0.5 * reward[16:].mean()
    assert all(p.grad is None for p in module.target.parameters())
