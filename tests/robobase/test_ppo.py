"""PPO: advantages, the clipped objective, rollouts, and that it learns."""

import copy

import numpy as np
import pytest
import torch
from learning import DEEPER_ENCODER, success_and_seconds
from nn_helpers import A, T, Z, make_ppo, observation_space
from test_workspace_resume import EXACT, assert_same_run, train
from tiny_task import tiny_config
from torch import nn

from robobase.errors import UserError
from robobase.method.ppo import clipped_surrogate, estimate_advantages, log_prob
from robobase.replay_buffer.rollout_buffer import RolloutBuffer
from robobase.workspace import Workspace

SPACE = observation_space()
STATE = observation_space(cameras=())
N = 2  # environments


def column(*values: float) -> torch.Tensor:
    """(L, 1): steps of one environment."""
    return torch.tensor(values)[:, None]


def make_rollout(agent, space, steps: list[tuple[set, set]], seed: int = 0) -> RolloutBuffer:
    """Random steps; each entry names the environments that terminate and that are truncated."""
    rng = np.random.default_rng(seed)

    def observe():
        return {
            key: rng.integers(0, 256, (N, *box.shape)).astype(np.uint8)
            if key.startswith("rgb")
            else rng.normal(size=(N, *box.shape)).astype(np.float32)
            for key, box in space.items()
        }

    rollout = RolloutBuffer(space, agent.action_space, len(steps), N)
    now = observe()
    for terminated, truncated in steps:
        following = observe()
        actions = rng.uniform(-0.9, 0.9, (N, 1, A)).astype(np.float32)
        ends = [np.isin(np.arange(N), list(lanes)) for lanes in (terminated, truncated)]
        final = observe() if terminated or truncated else None
        rollout.add(now, actions, rng.normal(size=N), *ends, final, following)
        now = following
    return rollout


# --- advantages -------------------------------------------------------------------------------


def test_advantages_equal_those_computed_by_hand():
    """gamma = 0.5, lambda = 0.5: deltas are 1.5, 2, -1 and each weighs a quarter of the next."""
    advantages = estimate_advantages(
        reward=column(1.0, 2.0, 1.0),
        value=column(0.5, 2.0, 4.0),
        next_value=column(2.0, 4.0, 4.0),
        ended=torch.zeros(3, 1, dtype=torch.bool),
        gamma=0.5,
        gae_lambda=0.5,
    )
    third = 1 + 0.5 * 4 - 4
    second = 2 + 0.5 * 4 - 2 + 0.25 * third
    first = 1 + 0.5 * 2 - 0.5 + 0.25 * second
    torch.testing.assert_close(advantages, column(first, second, third))
    torch.testing.assert_close(advantages, column(1.9375, 1.75, -1.0))


def test_an_end_keeps_the_next_episode_out_of_the_sum():
    def first_two(third_reward):
        return estimate_advantages(
            reward=column(1.0, 2.0, third_reward),
            value=column(0.5, 2.0, 4.0),
            next_value=column(2.0, 6.0, 4.0),
            ended=column(0, 1, 0).bool(),
            gamma=0.5,
            gae_lambda=0.5,
        )[:2]

    second = 2 + 0.5 * 6 - 2
    first = 1 + 0.5 * 2 - 0.5 + 0.25 * second
    torch.testing.assert_close(first_two(1.0), column(first, second))
    torch.testing.assert_close(first_two(1.0), first_two(100.0))


def test_with_lambda_one_advantage_plus_value_is_the_discounted_return():
    advantages = estimate_advantages(
        column(1.0, 2.0, 3.0), column(5.0, 6.0, 7.0), column(6.0, 7.0, 0.0),
        column(0, 0, 1).bool(), gamma=0.9, gae_lambda=1.0,
    )  # fmt: skip
    returns = advantages + column(5.0, 6.0, 7.0)
    torch.testing.assert_close(returns, column(1 + 0.9 * (2 + 0.9 * 3), 2 + 0.9 * 3, 3.0))


def test_values_go_on_where_truncated_and_stop_where_terminated():
    """lambda = 0 and no reward: an advantage is V(s') - V(s), and V reads one number off s."""

    class FirstNumber(nn.Module):
        def forward(self, inputs):
            return inputs["low_dim_obs"][:, -Z : -Z + 1]  # of the newest frame

    agent = make_ppo(STATE, gamma=1.0, gae_lambda=0.0, reward_scale=0.0)
    agent.critic = FirstNumber()
    rollout = make_rollout(agent, STATE, [(set(), set()), ({0}, {1}), (set(), set()), ({0}, set())])
    finals = copy.deepcopy(rollout._next["low_dim_state"])
    batch = next(rollout.batches())
    v = batch["low_dim_state"][..., -1, 0]  # (L, N)
    observations = {"low_dim_state": batch["low_dim_state"].flatten(0, 1)}
    advantages, returns, _ = agent._look_back(batch, observations, batch["action"].flatten(0, 1))
    next_value = (advantages.view(4, N) + v).numpy()
    final, last = (float(rows[0, -1, 0]) for rows in finals[1:])  # env 1 at step 1, at the end
    expected = [[v[1, 0], v[1, 1]], [0.0, final], [v[3, 0], v[3, 1]], [0.0, last]]
    np.testing.assert_allclose(next_value, np.array(expected), atol=1e-6)
    torch.testing.assert_close(returns, advantages + v.flatten())


# --- the objective ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 2.0, 1.2 * 2.0),  # better and already likelier: no more to gain
        (0.5, 2.0, 0.5 * 2.0),  # better but less likely: raise it
        (1.5, -2.0, 1.5 * -2.0),  # worse but likelier: lower it
        (0.5, -2.0, 0.8 * -2.0),  # worse and already less likely: no more to gain
    ],
)
def test_the_surrogate_is_the_lower_of_clipped_and_unclipped(ratio, advantage, expected):
    r = torch.tensor([ratio], requires_grad=True)
    value = clipped_surrogate(r, torch.tensor([advantage]), 0.2)
    value.sum().backward()
    assert value.item() == pytest.approx(expected)
    assert r.grad is not None
    assert (r.grad.item() == 0) == (expected != ratio * advantage)


def test_the_first_gradient_step_is_on_policy():
    agent = make_ppo(num_epochs=1, minibatch_size=16)
    agent.logging = True
    rollout = make_rollout(agent, SPACE, [(set(), set())] * 8)
    metrics = agent.update(rollout.batches(), 0)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["clip_fraction"] == 0
    assert metrics["actor_loss"] == pytest.approx(0.0, abs=1e-5)  # of advantages with mean 0


def test_actions_of_act_are_as_likely_as_the_policy_says():
    agent = make_ppo(STATE).train(False)
    observations = {"low_dim_state": torch.randn(1, T, Z).repeat(20_000, 1, 1)}
    policy = agent.policy(agent.observe(observations))
    actions = agent.act(observations, 0, eval_mode=False)
    assert actions.abs().max() < 1
    inverse = torch.atanh(actions.double())
    assert inverse.std().item() == pytest.approx(1.0, abs=0.02)  # init_std
    assert log_prob(policy, actions).isfinite().all()


def test_more_gain_than_the_clip_allows_is_not_taken():
    """Many epochs on one rollout move the ratio out to the clip, and then no further."""
    rates = {"actor_lr": 3e-3, "critic_lr": 0.0}
    agent = make_ppo(STATE, num_epochs=60, minibatch_size=16, value_coef=0.0, **rates)
    rollout = make_rollout(agent, STATE, [({0, 1}, set())] * 8)
    batch = next(rollout.batches())
    observations = {"low_dim_state": batch["low_dim_state"].flatten(0, 1)}
    actions = batch["action"].flatten(0, 1)

    def log_probs():
        with torch.no_grad():
            return log_prob(agent.policy(agent.observe(observations)), actions)

    before = log_probs()
    advantages = agent._look_back(batch, observations, actions)[0]
    agent.update(iter([batch]), 0)
    ratio = (log_probs() - before).exp()
    better = advantages > advantages.mean()
    assert ratio[better].min() > 1 > ratio[~better].max()
    assert ratio.median() < 2


def test_the_policy_finds_the_action_that_pays():
    agent = make_ppo(STATE, actor_lr=1e-2, minibatch_size=64, num_epochs=4)
    best = torch.tensor([0.5, -0.3])
    observations = {"low_dim_state": torch.ones(64, T, Z)}
    for _ in range(40):
        actions = agent.act(observations, 0, eval_mode=False)
        batch = {
            "low_dim_state": torch.ones(32, 2, T, Z),
            "low_dim_state_tp1": torch.ones(0, T, Z),
            "cuts": torch.zeros(0, dtype=torch.int64),
            "action": actions.unflatten(0, (32, 2)),
            "reward": -(actions[:, 0] - best).square().sum(1).view(32, 2),
            "terminal": torch.ones(32, 2, dtype=torch.bool),
            "truncated": torch.zeros(32, 2, dtype=torch.bool),
        }
        agent.update(iter([batch]), 0)
    assert (agent.act(observations, 0, eval_mode=True)[0, 0] - best).norm() < 0.2
    assert agent.actor.log_std.max() < -0.3  # certain of it, too


def test_an_entropy_bonus_keeps_the_policy_wide():
    spread = []
    for coefficient in (0.0, 1.0):
        agent = make_ppo(STATE, entropy_coef=coefficient, init_std=0.3, actor_lr=3e-2)
        for seed in range(15):
            rollout = make_rollout(agent, STATE, [({0, 1}, set())] * 8, seed)
            agent.update(rollout.batches(), 0)
        spread.append(agent.actor.log_std.exp().mean().item())
    assert spread[1] > spread[0] + 0.1


def test_one_loss_trains_actor_critic_and_encoder():
    agent = make_ppo()
    before = copy.deepcopy(agent.state_dict())
    agent.update(make_rollout(agent, SPACE, [(set(), {0})] * 8).batches(), 0)
    after = agent.state_dict()
    same = [key for key in before if torch.equal(before[key], after[key])]
    assert not same


# --- rollouts ---------------------------------------------------------------------------------


def test_a_rollout_is_full_once_and_then_starts_anew():
    agent = make_ppo(STATE)
    rollout = make_rollout(agent, STATE, [(set(), set())] * 3)
    assert rollout.is_full()
    assert len(rollout) == 3 * N
    assert next(rollout.batches())["reward"].shape == (3, N)
    assert not rollout.is_full()
    assert len(rollout) == 0


def test_next_observations_are_kept_where_the_sum_is_cut():
    agent = make_ppo(STATE)
    steps = [({0}, set()), (set(), {1}), ({0, 1}, set()), ({0}, set())]
    batch = next(make_rollout(agent, STATE, steps).batches())
    assert batch["cuts"].tolist() == [1 * N + 1, 3 * N + 1]
    assert batch["low_dim_state_tp1"].shape == (2, T, Z)


def test_an_unfinished_rollout_goes_on_from_a_file(tmp_path):
    agent = make_ppo(SPACE)
    steps = [(set(), {1}), ({0}, set()), (set(), {0}), (set(), set())]
    unbroken = next(make_rollout(agent, SPACE, steps).batches())
    stopped = RolloutBuffer(SPACE, agent.action_space, len(steps), N)
    source = make_rollout(agent, SPACE, steps)
    source._filled = 2  # as it was after two steps
    source._cuts = source._cuts[:2]
    source._next = {key: rows[:2] for key, rows in source._next.items()}
    torch.save(source.state_dict(), tmp_path / "rollout.pt")
    stopped.load_state_dict(torch.load(tmp_path / "rollout.pt", weights_only=True))
    assert len(stopped) == 2 * N
    for t in (2, 3):
        following = {k: (unbroken[k][t + 1] if t < 3 else unbroken[f"{k}_tp1"][-N:]).numpy()
                     for k in SPACE}  # fmt: skip
        final = {k: np.concatenate([unbroken[f"{k}_tp1"][1:2]] * N) for k in SPACE}
        step = {key: rows[t].numpy() for key, rows in unbroken.items() if len(rows) == 4}
        ends = (step["terminal"], step["truncated"])
        observation = {key: step[key] for key in SPACE}
        stopped.add(observation, step["action"], step["reward"], *ends, final, following)
    resumed = next(stopped.batches())
    assert unbroken.keys() == resumed.keys()
    for key, rows in unbroken.items():
        assert torch.equal(rows, resumed[key]), key


# --- state ------------------------------------------------------------------------------------


def test_state_dict_holds_tensors_alone():
    state = make_ppo().state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_learning_goes_on_exactly_from_a_file(tmp_path):
    agent = make_ppo()
    batches = [next(make_rollout(agent, SPACE, [(set(), {0})] * 8, s).batches()) for s in range(4)]
    for batch in batches[:2]:
        agent.update(iter([batch]), 0)
    torch.save({"agent": agent.state_dict(), "training": agent.training_state()}, tmp_path / "a.pt")
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    other = make_ppo(seed=5)
    other.load_state_dict(saved["agent"])
    other.load_training_state(saved["training"])
    assert other.last_metrics == agent.last_metrics
    for each in (agent, other):
        torch.manual_seed(7)
        for batch in batches[2:]:
            each.update(iter([batch]), 0)
    first, second = agent.state_dict(), other.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert other.last_metrics == agent.last_metrics


@pytest.mark.parametrize(
    "wrong",
    [
        {"rollout_length": 0},
        {"num_epochs": 0},
        {"minibatch_size": 0},
        {"frame_stack_on_channel": False},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_impossible_settings_are_refused_in_one_line(wrong):
    with pytest.raises(UserError) as caught:
        make_ppo(STATE, **wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "demos=2",
        "num_pretrain_steps=100",
        "utd_ratio=0.5",
        "replay.prioritization=true",
        "replay.sequential=true",
    ],
)
def test_data_that_ppo_cannot_use_is_refused_in_one_line(tmp_path, setting):
    with pytest.raises(UserError, match="learns from its own latest steps") as caught:
        Workspace(tiny_config("method=ppo", setting), work_dir=tmp_path)
    assert setting.split("=")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_learns_once_per_rollout_and_logs_in_between(tmp_path):
    keys = ["method=ppo", "method.rollout_length=20", "pixels=false", "eval_every_steps=null"]
    run = Workspace(tiny_config(*keys), work_dir=tmp_path)
    calls = []
    update = run.agent.update
    run.agent.update = lambda *args: calls.append(args[1]) or update(*args)  # type: ignore[method-assign]
    run.train()
    assert calls == [80, 160, 240, 320, 400]  # 4 environments, 20 steps
    rows = (tmp_path / "train.csv").read_text().splitlines()
    losses = [row.split(",")[rows[0].split(",").index("critic_loss")] for row in rows[1:]]
    assert len(losses) == 4
    assert all(losses)
    assert len(run.replay_buffer) == 0


@pytest.mark.parametrize("pixels", [True, False])
def test_a_resumed_ppo_run_equals_an_unbroken_one(tmp_path, pixels):
    """The snapshot at 600 env steps is in the middle of a rollout: those end every 140."""
    keys = [*EXACT, "method=ppo", "method.rollout_length=35", f"pixels={pixels}"]
    train(tmp_path / "unbroken", *keys)
    earlier = tmp_path / "unbroken" / "snapshots" / "600_snapshot.pt"
    train(tmp_path / "resumed", *keys, f"resume_from={earlier}")
    assert_same_run(tmp_path / "unbroken", tmp_path / "resumed")


def test_without_its_rollout_a_run_goes_on_and_collects_anew(tmp_path):
    keys = ["method=ppo", "method.rollout_length=40", "pixels=false", "num_train_envs=4"]
    train(tmp_path / "first", *keys, "num_train_frames=200")
    latest = tmp_path / "first" / "snapshots" / "latest_snapshot.pt"
    more = ["num_train_frames=400", f"resume_from={latest}"]
    run = train(tmp_path / "second", *keys, *more)
    assert (run.global_env_steps, run.progress.updates) == (400, 2)
    wider = train(tmp_path / "third", *keys, *more, "num_train_envs=8", "snapshot_replay=true")
    assert wider.global_env_steps == 400


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True], ids=["state", "pixels"])
def test_ppo_reaches_the_target_in_under_three_minutes(tmp_path, pixels):
    config = tiny_config(
        "method=ppo",
        f"pixels={pixels}",
        "num_train_envs=16",
        f"num_train_frames={60_000 if pixels else 20_000}",
        "method.rollout_length=64",
        "method.num_epochs=4",
        "replay.gamma=0.9",
        "eval_every_steps=null",
        "save_snapshot=false",
        "log_every=2000",
        *DEEPER_ENCODER,
    )
    success, seconds = success_and_seconds(Workspace(config, work_dir=tmp_path))
    assert success >= 0.9
    assert seconds < 180


def test_shifted_images_are_refused_rather_than_ignored():
    with pytest.raises(UserError, match="does not shift images"):
        make_ppo(use_augmentation=True)
