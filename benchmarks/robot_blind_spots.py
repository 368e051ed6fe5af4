"""What the watch over the joints notices: each fault in each joint, and healthy arms too.

python benchmarks/robot_blind_spots.py [SNAPSHOT] [--healthy 200] [--seed 3000000] [--kinds ...]

On the simulated robot. Every fault strikes twice: from the start (the test of the joints comes
before the first episode) and `LATER` s into an episode, without that test.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _machine import machine_line
from _robot import POLICY, Loop
from _runs import command_line, markdown_table, run_script

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.rollout.picture_stream import PromptPictures
from so101_robobase.robot.rollout.policy_camera import SimulatedPolicyCamera
from so101_robobase.robot.rollout.rollout import RolloutSettings
from so101_robobase.robot.rollout.workcell import SimulatedWorkcell
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver

LATER = 0.4  # s into the first episode
FAULTS = (
    ("reversed", None),
    ("runaway", 0.5),
    ("frozen", None),
    ("gain", 0.5),
    ("weak", 0.05),
    ("offset", 0.3),
    ("offset", -0.3),
    ("drift", 0.1),
    ("drift", -0.1),
    ("mirrored", None),
)
HEADER = ["fault", "joint", "strikes", "noticed by", "after s", "lowest mm"]


@dataclass
class Seen:
    """How one rollout went."""

    by: str  # what noticed it; "-": nothing
    seconds: float | None  # from the fault to the stop
    lowest: float  # m, true height of the arm's lowest point
    episodes: int
    successes: int
    holds: int
    reason: str


class Watched(SimulatedDriver):
    """Keeps how low the true arm came."""

    def __init__(self, body: Body, loop: Loop):
        super().__init__(body)
        self._heights = Clearance(loop.physics)
        self.lowest = float(self._heights(body.joint_pos).clearance)

    def _advance(self, seconds: float) -> None:
        super()._advance(seconds)
        self.lowest = min(self.lowest, float(self._heights(self.body.joint_pos).clearance))


def main(argv: list[str]) -> None:
    args = parse(argv)
    loop = Loop(args.snapshot)
    body = Body(loop.config)
    print(f"{machine_line('mujoco', 'torch')}\n\n{args.snapshot}, cubes from seed {args.seed}\n")
    rows = []
    for kind, value in FAULTS:
        if args.kinds and kind not in args.kinds:
            continue
        for joint, name in enumerate(JOINTS):
            for start in (0.0, None):
                seen = trial(loop, body, args.seed, Fault(kind, [joint + 1], value=value), start)
                rows.append(
                    [
                        kind if value is None else f"{kind} {value}",
                        name,
                        "at the start" if start == 0 else "in an episode",
                        seen.by,
                        "" if seen.seconds is None else f"{seen.seconds:.1f}",
                        f"{1e3 * seen.lowest:.0f}",
                    ]
                )
                print(*rows[-1], "|", seen.reason, flush=True)
    print(f"\n{markdown_table(HEADER, rows)}\n")
    healthy(loop, body, args.seed + 100_000, args.healthy)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("snapshot", type=Path, nargs="?", default=POLICY, metavar="SNAPSHOT")
    parser.add_argument("--healthy", type=int, default=200, help="episodes without a fault")
    parser.add_argument("--seed", type=int, default=3_000_000)
    parser.add_argument("--kinds", nargs="*", default=[], help="of faults; default: all")
    return parser.parse_args(argv)


def trial(
    loop: Loop,
    body: Body,
    seed: int,
    fault: Fault | None = None,
    start: float | None = 0.0,
    episodes: int = 2,
) -> Seen:
    """One rollout; `fault` strikes at `start`, None: `LATER` s into the first episode."""
    body.begin(seed)
    driver, events = Watched(body, loop), EventLog()
    struck = [np.inf]

    class Scene(SimulatedWorkcell):
        def prepare(self, episode: int) -> None:
            super().prepare(episode)
            if fault is not None and start is None and episode == 0:
                now = driver.clock.now()
                driver.faults.inject(replace(fault, start=LATER), now)
                struck[0] = now + LATER

    if fault is not None and start is not None:
        driver.faults.inject(fault, start)
        struck[0] = start
    result = loop.rollout(
        driver,
        PromptPictures(SimulatedPolicyCamera(body.sim, body.config, driver.clock)),
        Scene(body, seed),
        RolloutSettings(num_episodes=episodes, self_test=start is not None),
        events,
        clock=driver.clock,
    ).run()
    ended = driver.clock.now()
    driver.faults.clear()
    driver.connect()
    return Seen(
        by=named(result.stopped),
        seconds=None if result.stopped is None else ended - min(struck[0], ended),
        lowest=driver.lowest,
        episodes=len(result.outcomes),
        successes=sum(bool(outcome.success) for outcome in result.outcomes),
        holds=events.counts.get("hold", 0),
        reason=result.stopped or "",
    )


def named(stopped: str | None) -> str:
    """Which part of the watch stopped a rollout, by its words."""
    if stopped is None:
        return "-"
    for words, part in (
        ("the test of the joints", "test of the joints"),
        ("nobody told it to move", "motion"),
        ("does not answer", "no answer"),
        ("at rest", "load at rest"),
        ("below the table", "floor"),
        ("of its torque for", "overload"),
        ("does not follow", "slow move"),
        ("no safe way", "no safe way"),
    ):
        if words in stopped:
            return part
    return stopped


def healthy(loop: Loop, body: Body, seed: int, episodes: int) -> None:
    """Episodes without a fault: how many the watch stopped, and why."""
    done = successes = holds = rollouts = 0
    stops: list[str] = []
    while done < episodes:
        seen = trial(loop, body, seed + done, episodes=min(20, episodes - done))
        rollouts += 1
        successes, holds = successes + seen.successes, holds + seen.holds
        done += seen.episodes
        if seen.reason:
            stops.append(f"episode {done}: {seen.reason}")
            done += 1
    print(
        f"healthy: {rollouts} rollouts with their tests of the joints, {done} episodes, "
        f"{successes} successes, {len(stops)} stops, {holds} holds"
    )
    print("\n".join(stops))


if __name__ == "__main__":
    run_script(main)
