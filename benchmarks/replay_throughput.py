"""Replay sampling speed: batches of 256 stacked transitions, against one sample at a time.

python benchmarks/replay_throughput.py
"""

import argparse
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from _machine import machine_line
from torch.utils.data import DataLoader

from robobase.replay_buffer import PrioritizedReplayBuffer, UniformReplayBuffer

SEED, ROUNDS = 0, 5
BATCH, STACK, NSTEP, GAMMA = 256, 3, 3, 0.99
FRAME = (2, 84, 84)


def make_buffer(kind: type[UniformReplayBuffer], capacity: int, **options) -> UniformReplayBuffer:
    spaces: dict[str, gym.Space] = {
        "rgb": gym.spaces.Box(0, 255, (STACK, *FRAME), np.uint8),
        "low_dim_state": gym.spaces.Box(-np.inf, np.inf, (STACK, 18), np.float32),
    }
    return kind(
        **{"nstep": NSTEP, **options},
        batch_size=BATCH,
        replay_capacity=capacity,
        gamma=GAMMA,
        action_shape=(1, 6),
        observation_elements=gym.spaces.Dict(spaces),
        seed=SEED,
    )


def fill(buffer: UniformReplayBuffer, steps: int, num_envs: int, episode: int = 100) -> float:
    """Seconds that adding takes."""
    rng = np.random.default_rng(SEED)
    observation: dict[str, np.ndarray] = {
        "rgb": rng.integers(0, 256, (num_envs, *FRAME), dtype=np.uint8),
        "low_dim_state": rng.random((num_envs, 18), dtype=np.float32),
    }
    action, reward = rng.random((num_envs, 6), dtype=np.float32), np.ones(num_envs, np.float32)
    terminal = np.zeros(num_envs, bool)
    start = time.perf_counter()
    for step in range(steps):
        truncated = np.full(num_envs, step % episode == episode - 1)
        final = observation if truncated.any() else None
        buffer.add_batch(observation, action, reward, terminal, truncated, final)
    return time.perf_counter() - start


def one_at_a_time(buffer: UniformReplayBuffer) -> dict[str, np.ndarray]:
    """A batch the naive way: a Python loop over samples and over their frames.

    Episodes are 100 steps of 16 environments, so a frame's neighbours lie 16 rows away.
    """
    rng = np.random.default_rng(SEED)
    store = buffer._store
    columns = {name: store.column(name) for name in ("rgb", "low_dim_state", "action", "reward")}
    samples: list[dict[str, np.ndarray]] = []
    while len(samples) < BATCH:
        start = int(rng.integers(0, len(buffer)))
        t = start // 16 % 100
        if t + NSTEP >= 100 or start + 16 * NSTEP >= len(buffer):
            continue
        sample = {"action": columns["action"][start]}
        for key in ("rgb", "low_dim_state"):
            for name, at in ((key, 0), (f"{key}_tp1", NSTEP)):
                frames = [max(t + at - k, 0) - t for k in range(STACK - 1, -1, -1)]
                sample[name] = np.stack([columns[key][start + 16 * f] for f in frames])
        reward = sum(GAMMA**k * columns["reward"][start + 16 * k] for k in range(NSTEP))
        sample["reward"] = np.asarray(reward)
        samples.append(sample)
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def samples_per_second(draw: Callable[[], object], seconds: float) -> float:
    draw()
    batches, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        draw()
        batches += 1
    return batches * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transitions", type=int, default=48_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    steps = args.transitions // 16
    uniform = make_buffer(UniformReplayBuffer, args.transitions)
    fill_seconds = fill(uniform, steps, 16)
    one_step = make_buffer(UniformReplayBuffer, args.transitions, nstep=1)
    fill(one_step, steps, 16)
    prioritized = make_buffer(PrioritizedReplayBuffer, args.transitions)
    fill(prioritized, steps, 16)

    batches, loader = uniform.batches(args.device), iter(DataLoader(uniform, batch_size=BATCH))
    ways = {
        "naive loop over samples and frames": lambda: one_at_a_time(uniform),
        "DataLoader over single samples, no workers": lambda: next(loader),
        "sample()": uniform.sample,
        "sample(), 1-step returns": one_step.sample,
        "sample(), prioritised": prioritized.sample,
        f"batches({args.device!r})": lambda: next(batches),
    }
    # rounds, so that a disturbance of the machine does not fall on one way alone
    rounds = [
        {name: samples_per_second(draw, args.seconds / ROUNDS) for name, draw in ways.items()}
        for _ in range(ROUNDS)
    ]
    rates = {name: float(np.median([rates[name] for rates in rounds])) for name in ways}
    naive = rates["naive loop over samples and frames"]
    print("| way | samples/s | batches of 256 per s | against the naive loop |")
    print("|---|---:|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {rate / BATCH:.1f} | {rate / naive:.2f} |")
    print(f"| add_batch, 16 environments | {16 * steps / fill_seconds:,.0f} added/s | | |")
    print(
        f"\nT={STACK} frames of {FRAME} uint8 now and {NSTEP} steps later, "
        f"{args.transitions:,} transitions in memory, median of {ROUNDS} rounds, seed {SEED}."
    )
    print(machine_line("torch", "numpy"))


if __name__ == "__main__":
    main()
