"""DrQ-v2 updates per second: the original's network against the default one.

All learn from one batch of 256 transitions of (6, 84, 84) images (3 frames of class ids and
disparity) and 18 proprioceptive numbers a frame, in turns within one run, so that ratios hold on
a busy machine; each figure is the median over the turns. On the CPU the first part measures how
the C library comes, the second with `robobase.memory.keep_freed_memory`.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from _machine import machine_line
from gymnasium import spaces
from hydra import compose, initialize_config_module

from robobase.build import make_agent
from robobase.memory import keep_freed_memory
from robobase.method.core import Method

BATCH, SEED = 256, 0
CONFIGS = {
    "launch=reference (DrQ-v2's network, every pixel)": ["launch=reference"],
    "env=so101_lift, every pixel": ["method.image_stride=1"],
    "env=so101_lift": [],
}


def build_agent(overrides: list[str], device: str) -> Method:
    """The agent of `env=so101_lift` with `overrides`, ready to learn."""
    with initialize_config_module("robobase.cfgs", version_base=None):
        cfg = compose("robobase_config", overrides=["env=so101_lift", *overrides])
    observations = {
        "rgb": spaces.Box(0, 255, (3, 2, 84, 84), np.uint8),
        "low_dim_state": spaces.Box(-np.inf, np.inf, (3, 18), np.float32),
    }
    action_space = spaces.Box(-1, 1, (1, 6), np.float32)
    return make_agent(cfg, spaces.Dict(observations), action_space, torch.device(device)).train()


def build_batch(device: str) -> dict[str, torch.Tensor]:
    """Random transitions as the replay buffer gives them."""
    images = torch.randint(0, 256, (2, BATCH, 3, 2, 84, 84), dtype=torch.uint8)
    images[:, :, :, 0] %= 6
    states = torch.randn(2, BATCH, 3, 18)
    batch = {
        "rgb": images[0],
        "rgb_tp1": images[1],
        "low_dim_state": states[0],
        "low_dim_state_tp1": states[1],
        "action": torch.rand(BATCH, 1, 6) * 2 - 1,
        "reward": torch.randn(BATCH),
        "terminal": torch.zeros(BATCH, dtype=torch.int8),
        "discount": torch.full((BATCH,), 0.99**3),
        "indices": torch.arange(BATCH),
    }
    return {key: value.to(device) for key, value in batch.items()}


def seconds_per_update(update: Callable[[], object], device: str, repeats: int) -> float:
    """Wall-clock time of one update, over `repeats` of them."""
    start = time.perf_counter()
    for _ in range(repeats):
        update()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def measure(device: str, turns: int, repeats: int, title: str) -> None:
    """Print one table."""
    batch = itertools.repeat(build_batch(device))
    agents = {name: build_agent(overrides, device) for name, overrides in CONFIGS.items()}
    times: dict[str, list[float]] = {name: [] for name in agents}
    for turn in range(turns + 1):
        for name, agent in agents.items():
            seconds = seconds_per_update(lambda: agent.update(batch, 0), device, repeats)  # noqa: B023
            if turn > 0:  # the first warms up
                times[name].append(seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n| network ({title}) | ms per update | updates/s | ratio |\n|---|---|---|---|")
    for name, seconds in median.items():
        ratio = median[next(iter(CONFIGS))] / seconds
        print(f"| {name} | {seconds * 1e3:.0f} | {1 / seconds:.2f} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    device = args.device
    on_gpu = device.startswith("cuda")
    where = torch.cuda.get_device_name() if on_gpu else f"{args.threads} CPU threads"
    print(machine_line("torch"), f"{where}, batch {BATCH}, seed {SEED}", sep=", ")
    if on_gpu:
        measure(device, args.turns, 20, "float32")
        return
    measure(device, args.turns, 1, "C library as it comes")
    if keep_freed_memory():
        measure(device, args.turns, 1, "keep_freed_memory")


if __name__ == "__main__":
    main()
