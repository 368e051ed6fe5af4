"""What a rollout tells the person before it begins and after it has ended, and rollout.json."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.base.files import written_whole
from so101_robobase.evaluation.report import table
from so101_robobase.evaluation.statistics import CONFIDENCE, wilson_interval
from so101_robobase.robot.loop.arm_loop import HOLD, Ending
from so101_robobase.robot.loop.events import EventLog, meanings
from so101_robobase.robot.loop.ticker import Timing
from so101_robobase.robot.person.arm_arguments import REAL, SIM
from so101_robobase.robot.person.hints import OperatorHints
from so101_robobase.robot.rollout.rollout import Result, RolloutSettings
from so101_robobase.robot.rollout.rollout_options import RolloutOptions

_CTRL_C = "Ctrl-C"
_NAMES = {"SIGINT": _CTRL_C, "KeyboardInterrupt": _CTRL_C}
_LEFT = {"release": "released, its torque is off", "hold": "held, its torque is on"}


def announce(
    options: RolloutOptions,
    what: str,
    hints: OperatorHints,
    settings: RolloutSettings,
    start: np.ndarray,
    folder: Path,
    keys: bool,
) -> None:
    """Prints what will be done with the arm that is called `what`, and the keys, if there are any.

    Args:
        start: (6,) rad, where episodes begin.
    """
    print(f"arm: {what}")
    if options.robot == REAL and options.alignment is None:
        print(
            "no --alignment: the arm is taken to be just like the model; measure how yours differs "
            "with `so101_robobase robot align`"
        )
    if options.dry_run:
        print(f"dry run: torque goes off, nothing is sent; {hints.hand}")
    else:
        degrees = " ".join(str(round(angle)) for angle in np.rad2deg(start))
        print(f"start pose (degrees): {degrees}, reached slowly; then back to where the arm is now")
    plural = "" if settings.num_episodes == 1 else "s"
    print(
        f"{settings.num_episodes} episode{plural} of {settings.episode_time:g} s, actions times "
        f"{settings.action_scale:g}; after a fault, Esc or {_CTRL_C} the arm is "
        f"{_LEFT[settings.on_stop]}"
    )
    print(f"log and report: {folder}")
    if keys:
        names = ["space begin and pause" if options.robot == REAL else "space pause"]
        names += ["n next action"] if settings.step else []
        names += ["s success", "f failure", "r again", "q quit slowly", "Esc stop at once"]
        print(f"keys: {', '.join(names)}")


def ask_to_begin(hints: OperatorHints, prepare: str = "Clear the arm's way") -> None:
    """Wait for the person. Raises UserError where they do not want to."""
    try:
        input(f"{prepare}, {hints.ready}press Enter to begin: ")
    except EOFError:
        print()
        raise UserError("not begun, because input ended; nothing has moved") from None


def report(
    options: RolloutOptions,
    settings: RolloutSettings,
    result: Result,
    events: EventLog,
    folder: Path,
    hints: OperatorHints,
) -> bool:
    """Prints figures, how the arm was left and what went wrong; writes rollout.json.

    Returns whether that could be written.
    """
    judged = [outcome.success for outcome in result.outcomes if outcome.success is not None]
    rows = [["episodes", str(len(result.outcomes))]]
    summary: dict[str, Any] = {"episodes": len(result.outcomes), "judged": len(judged)}
    if judged:
        low, high = wilson_interval(sum(judged), len(judged))
        rows += [
            ["success", f"{sum(judged) / len(judged):.1%} ({sum(judged)} of {len(judged)})"],
            [f"{CONFIDENCE:.0%} interval (Wilson)", f"{low:.1%} to {high:.1%}"],
        ]
        summary |= {"successes": sum(judged), "success_interval": [low, high]}
    if result.timing and options.robot != SIM:
        rows += _timing_rows(result.timing)
    if options.dry_run and not judged:
        rows += [["success", "a dry run: nothing was sent"]]
    rows += [[f"pictures that were {flaw}", str(n)] for flaw, n in result.bad_frames.items()]
    print(table(rows), flush=True)
    print(meanings(events.counts))
    tell_what_went_wrong(result, events, hints)
    failed = sorted(folder.glob("episode_*_failed.png"))
    if failed:
        print(f"what was seen last: {', '.join(path.name for path in failed)} in {folder}")
    record = {
        "snapshot": str(options.snapshot.resolve()),
        "robot": options.robot,
        "dry_run": options.dry_run,
        "settings": asdict(settings),
        "summary": summary,
        "outcomes": [asdict(outcome) for outcome in result.outcomes],
        "stopped": result.stopped,
        "left": result.left,
        "unconfirmed": result.unconfirmed,
        "timing": asdict(result.timing) if result.timing else None,
        "bad_frames": result.bad_frames,
        "events": events.counts,
    }
    try:
        with written_whole(folder / "rollout.json") as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n")
    except (OSError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        _warn(f"the report could not be written to {folder}: {reason}")
        return False
    return True


def was_interrupted(result: Result) -> bool:
    """Whether Ctrl-C ended the rollout."""
    return result.stopped in _NAMES


def tell_what_went_wrong(result: Ending, events: EventLog, hints: OperatorHints) -> None:
    """Prints why work was cut short, how the arm was left, and what may be dangerous."""
    lines = []
    if result.stopped:
        reason = _NAMES.get(result.stopped, result.stopped)
        left = "" if result.unconfirmed else f"; the arm is {_LEFT[result.left]}"
        lines.append(f"stopped: {reason}{left}")
    if result.left == HOLD and hints.before_cut:
        lines.append(hints.before_cut)
    if result.unconfirmed:
        motors = ", ".join(result.unconfirmed)
        lines.append(f"torque may still be on in {motors}: {hints.cut_power}")
    if events.lost:
        lines.append(f"{events.lost} events could not be written to {events.path}")
    for line in lines:
        _warn(line)


def _warn(line: str) -> None:
    print(f"so101_robobase: {line}", file=sys.stderr)


def _timing_rows(timing: Timing) -> list[list[str]]:
    def triple(name: str) -> str:
        values = (getattr(timing, f"{name}_{which}") for which in ("p50", "p99", "max"))
        return ", ".join(f"{value:.1f}" for value in values)

    return [
        ["control ticks", f"{timing.ticks}, {timing.missed} left out"],
        ["tick late, ms (median, 99 %, most)", triple("late")],
        ["tick work, ms (median, 99 %, most)", triple("work")],
    ]
