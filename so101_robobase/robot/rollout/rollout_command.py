"""`so101_robobase robot rollout <snapshot>`: run a policy on an arm."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import (
    ALIGNMENT,
    NETWORK,
    SNAPSHOT,
    add_device,
    add_input,
    add_number,
    add_overrides,
    add_seed,
    add_trust,
    options,
)
from so101_robobase.robot.person.arm_arguments import (
    EMULATED,
    REAL,
    SIM,
    add_arm,
    add_camera,
    add_on_stop,
)

EXAMPLE = "so101_robobase robot rollout policies/robust_snapshot.pt --robot sim --num_episodes 10"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.description = (
        f"{parser.description} Exit code: 0 after all episodes or q; 1 cut short by a fault or "
        "Esc, or not all of it was recorded; 130 Ctrl-C; 2 not begun, nothing has moved. With an "
        "arm: docs/robot.md."
    )
    add_input(parser, "snapshot", SNAPSHOT, f"{SNAPSHOT}, whose latest is meant")
    parser.add_argument(
        "--robot",
        choices=(REAL, SIM, EMULATED),
        default=REAL,
        help="real; sim: MuJoCo in step with the loop; emulated: MuJoCo behind servos that speak "
        "the real protocol, in real time (default: %(default)s)",
    )
    measured = (
        "what `so101_robobase robot align` measured; of a simulated arm its camera and servos"
    )
    add_input(parser, "--alignment", ALIGNMENT, measured, metavar="YAML")
    arm = parser.add_argument_group("real arm", "needed with --robot real, unused otherwise")
    add_arm(arm)
    add_camera(arm)
    arm.add_argument("--yes", action="store_true", help="begin without asking")
    sight = parser.add_argument_group(
        "networks", "a real camera needs them; a simulated one knows the truth without them"
    )
    finds = "best.pt of `so101_robobase segmentation train`, for policies that see class ids"
    add_input(sight, "--segmentation", NETWORK, finds, type=str, metavar="CHECKPOINT")
    sight.add_argument(
        "--depth",
        metavar="NAME",
        help="name or folder of a depth network, such as "
        "depth-anything/Depth-Anything-V2-Small-hf, for policies that see disparity",
    )
    add_device(sight, help="of all networks: cpu, cuda ...")
    run = parser.add_argument_group("run")
    add_number(run, "--num_episodes", 1, 10**6, default=1, metavar="N")
    trained = "default: the length of episodes in training"
    add_number(run, "--episode_time_s", 0.1, 600, trained, type=float, metavar="S")
    scaled = "the policy's actions times this, for careful first runs"
    add_number(run, "--action_scale", 0.01, 1, scaled, 1.0, type=float, metavar="X")
    run.add_argument(
        "--dry_run",
        action="store_true",
        help="everything but sending: torque stays off, move the arm by hand",
    )
    run.add_argument("--step", action="store_true", help="one action per press of n")
    run.add_argument(
        "--no_self_test",
        action="store_true",
        help="do not turn each joint a little before the first episode; not with a real arm",
    )
    add_on_stop(run)
    cubes = "of the first simulated cube; `evaluate` with the same has the same cubes"
    add_seed(run, cubes, 2_000_000, metavar="N")
    add_input(
        run,
        "--faults",
        "YAML with a list of faults",
        "with --robot emulated: list of faults of bus, servos and camera, counted from the "
        "first episode on, as of `robot emulator`; with sim too: faults of joints, from the start",
        metavar="YAML",
    )
    groups = "YAML with groups safety and monitor (docs/robot.md)"
    add_input(run, "--limits", groups, f"limits of your own: {groups}", metavar="FILE")
    add_overrides(run)
    add_trust(run)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir",
        type=Path,
        metavar="FOLDER",
        help="for log, report and joints (default: <run>/rollouts/<date and time>, or "
        "runs/<name>/... for a snapshot that is in no run folder)",
    )
    output.add_argument(
        "--record", type=Path, metavar="FOLDER", help="LeRobotDataset to add the episodes to"
    )
    output.add_argument(
        "--display",
        nargs="?",
        const="viewer",
        metavar="file.rrd",
        help="show everything in Rerun, or write it to a file",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the rollout; returns the exit code."""
    _check(args)
    from so101_robobase.robot.rollout.rollout_options import RolloutOptions
    from so101_robobase.robot.rollout.rollout_session import run_rollout

    return run_rollout(options(RolloutOptions, args))


def _check(args: argparse.Namespace) -> None:
    from so101_robobase.robot.person.hints import REAL_ARM, hints_for
    from so101_robobase.robot.person.keys import has_keys

    if args.dry_run and args.on_stop == "hold":
        raise UserError(
            "--on_stop hold needs torque, and --dry_run has none; leave one of them out"
        )
    if args.faults is not None and args.robot == REAL:
        raise UserError("--faults need --robot emulated or sim: a real arm has none to order")
    if args.no_self_test and args.robot == REAL and hints_for(args.port) is REAL_ARM:
        raise UserError("--no_self_test is for simulated and emulated arms; leave it out")
    if args.robot == REAL:
        missing = [
            name for name in ("port", "camera", "calibration") if getattr(args, name) is None
        ]
        if missing:
            raise UserError(
                f"--robot real needs {', '.join(f'--{name}' for name in missing)}; "
                "to try without an arm use --robot sim or --robot emulated"
            )
    if not has_keys():
        for needed, why in (
            (args.robot == REAL, "--robot real: a person must be able to stop the arm"),
            (args.step, "--step: each action waits for a key"),
        ):
            if needed:
                raise UserError(f"{why}; start it in the foreground of a terminal")
