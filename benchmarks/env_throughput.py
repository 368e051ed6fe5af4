"""Policy steps per second of the native vector environment, stage by stage of its work.

python benchmarks/env_throughput.py [--num_envs 16] [--action_repeat 2] [--seconds 5]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from _machine import machine_line

from robobase.errors import UserError
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.sim.threads import usable_threads
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask

SEED = 1
ROWS = (  # label, observation, renderer
    ("state", "state", "auto"),
    ("seg_depth, GL", "seg_depth", "gl"),
    ("seg_depth, rays", "seg_depth", "ray"),
    ("rgb, GL", "rgb", "gl"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_envs", type=int, default=16)
    parser.add_argument("--action_repeat", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="per row")
    args = parser.parse_args()

    print(f"{machine_line('mujoco', 'numpy', 'gymnasium')}, {usable_threads()} threads")
    print(
        f"{args.num_envs} environments, action_repeat {args.action_repeat}, stage 3, "
        f"uniformly random actions, seed {SEED}\n"
    )
    print("| work per step | policy steps/s | control steps/s |")
    print("|---|---:|---:|")
    report("physics, reward, resets", args, physics(args))
    for label, observation, renderer in ROWS:
        try:
            step, close = environment(args, observation, renderer)
        except UserError as error:
            print(f"| {label} | not available: {error} | |")
            continue
        report(label, args, step)
        close()


def report(label: str, args: argparse.Namespace, step: Callable[[np.ndarray], object]) -> None:
    """One row: how often `step` can be called with actions (N, 6), times N."""
    rng = np.random.default_rng(SEED)
    actions = rng.uniform(-1, 1, (256, args.num_envs, 6)).astype(np.float32)
    for action in actions[:4]:
        step(action)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds:
        step(actions[steps % len(actions)])
        steps += 1
    rate = steps * args.num_envs / (time.perf_counter() - start)
    print(f"| {label} | {rate:,.0f} | {rate * args.action_repeat:,.0f} |", flush=True)


def physics(args: argparse.Namespace) -> Callable[[np.ndarray], object]:
    task = LiftTask(LiftConfig(action_repeat=args.action_repeat), args.num_envs)
    task.seed(range(args.num_envs))
    task.reset(np.arange(args.num_envs))

    def step(action: np.ndarray) -> None:
        result = task.step(action)
        task.reset(np.flatnonzero(result.terminated | result.truncated))

    return step


def environment(
    args: argparse.Namespace, observation: str, renderer: str
) -> tuple[Callable[[np.ndarray], object], Callable[[], None]]:
    config = LiftConfig(
        action_repeat=args.action_repeat, observation=observation, renderer=renderer
    )
    env = TaskVectorEnv(config, args.num_envs)
    env.reset(seed=SEED)
    return env.step, env.close


if __name__ == "__main__":
    main()
