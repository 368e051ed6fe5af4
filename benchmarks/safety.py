"""What the worst policies achieve against the safety filter, on the simulated robot.

python benchmarks/safety.py [--ticks 100000] [--seed 0]
"""

import argparse
import time

import numpy as np
from _machine import machine_line
from _stress import POLICIES, WAYS, stress

from so101_robobase.arm.clearance import Clearance
from so101_robobase.robot.safety.filter import SafetyFilter, SafetyLimits
from so101_robobase.sim.scene import build_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=100_000, help="of all rows together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ticks = -(-args.ticks // (len(WAYS) * len(POLICIES)))

    print(f"{machine_line('mujoco', 'numpy')}, seed {args.seed}, {ticks} control ticks per row\n")
    print(
        "Excess: the most by which any joint was beyond its limit, its step (rad) or its lead "
        "(rad);\nnone is above rounding. Heights of the arm's lowest point in mm; low: ticks with "
        "the true pose\nmore than 1 mm below the table.\n"
    )
    print(
        "| policy | as | not finite | limit | step | lead | lowest command | true | low "
        "| workspace, floor, descent % |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for way in WAYS:
        for policy in POLICIES:
            found = stress(policy, way, ticks, args.seed)
            placed = [
                f"{100 * found.interventions[name] / ticks:.1f}"
                for name in ("workspace", "floor", "descent")
            ]
            print(
                f"| {policy} | {way} | {found.not_finite} | {found.joint_limit_excess:.0e} "
                f"| {found.step_excess:.0e} | {found.lead_excess:.0e} "
                f"| {1e3 * found.lowest_command:.1f} | {1e3 * found.lowest:.1f} "
                f"| {found.low_ticks} | {', '.join(placed)} |",
                flush=True,
            )
    print(f"\nOne call of the filter: {filter_time():.0f} microseconds (median)")


def filter_time() -> float:
    """Microseconds of one `SafetyFilter.filter` with random targets, median of 5,000."""
    scene = build_scene()
    joint_range = scene.model.actuator_ctrlrange
    safety = SafetyFilter(SafetyLimits(), joint_range, Clearance(scene.model))
    targets = np.random.default_rng(0).uniform(*joint_range.T, (5000, 6))
    seconds = []
    for target in targets:
        measured = safety.command
        start = time.perf_counter()
        safety.filter(target, measured)
        seconds.append(time.perf_counter() - start)
    return 1e6 * float(np.median(seconds))


if __name__ == "__main__":
    main()
