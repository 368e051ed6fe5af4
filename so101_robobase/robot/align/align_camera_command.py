"""`so101_robobase robot align camera`: the wrist camera's pose, by overlay and by a fit."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robobase.errors import UserError
from so101_robobase.base.arguments import NETWORK, add_device, add_input, add_number
from so101_robobase.robot.person.arm_arguments import add_arm, add_camera

if TYPE_CHECKING:
    from so101_robobase.arm.alignment import Alignment, CameraPose, Units
    from so101_robobase.robot.align.live_overlay import Screen
    from so101_robobase.robot.align.overlay import Frame
    from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
    from so101_robobase.robot.real.wrist_camera import RatedCamera
    from so101_robobase.sim.scene import Scene

EXAMPLE = (
    "so101_robobase robot align camera --port /dev/ttyACM0 --calibration "
    "calibration.json --camera 0 --output my_arm.yaml --live"
)

LIVE_PNG = Path("live_overlay.png")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="alignment file: its joints are used, its camera is where to begin and is replaced",
    )
    parser.add_argument(
        "--frames",
        type=Path,
        help="folder of pictures with a frames.json of their joint positions; with --port it is "
        "written first",
    )
    parser.add_argument(
        "--overlays",
        type=Path,
        help="folder for pictures of real and simulated view (default: <frames>/overlays)",
    )
    live = parser.add_argument_group("live, in place of --frames")
    live.add_argument(
        "--live",
        action="store_true",
        help="draw the simulated view's outlines over what the camera sees, all the time, while "
        "you move the arm by hand and change the pose with keys; in Rerun's window, or where there "
        f"is no screen in {LIVE_PNG}",
    )
    live.add_argument(
        "--live_png", type=Path, metavar="FILE", help="the same, in a picture that is rewritten"
    )
    arm = parser.add_argument_group("arm, for --live or to take the pictures with")
    add_arm(arm)
    add_camera(arm)
    add_number(arm, "--num_frames", 1, 10_000, default=6)
    pose = parser.add_argument_group("where to begin, in the gripper's frame")
    for name, most, axes, unit in (
        ("--camera_pos", 1, ("X", "Y", "Z"), "m"),
        ("--camera_euler", 7, ("A", "B", "C"), "rad"),
    ):
        add_number(pose, name, -most, most, unit, type=float, nargs=3, metavar=axes)
    add_number(pose, "--camera_fovy", 1, 179, "degrees, vertical", type=float)
    fit = parser.add_argument_group("fit")
    fit.add_argument(
        "--fit", action="store_true", help="find the pose whose class ids agree with the pictures'"
    )
    fit.add_argument(
        "--keep_fovy", action="store_true", help="of a camera whose field of view is known"
    )
    finds = "network that finds class ids in pictures for which frames.json names none"
    add_input(fit, "--segmentation", NETWORK, finds, type=str, metavar="CHECKPOINT")
    add_device(fit, "cpu", "of the network")
    parser.add_argument(
        "--adjust",
        action="store_true",
        help="change the pose line by line and look at the overlays, which are written anew",
    )


def run(args: argparse.Namespace) -> int:
    """Finds the pose live, or in pictures by hand or by a fit, and writes the alignment."""
    live = args.live or args.live_png is not None
    if live and (args.frames or args.fit or args.adjust):
        raise UserError("--live goes without --frames, --fit and --adjust: one after the other")
    if not live and args.frames is None:
        raise UserError("give --frames, a folder of pictures, or --live")
    if not live and args.port is None and not args.frames.is_dir():
        raise UserError(
            f"{args.frames} does not exist; record with --port and --camera, or give a folder of "
            "pictures with a frames.json"
        )
    from so101_robobase.base.files import checked_output

    args.output = checked_output(args.output, own=False)
    from dataclasses import replace

    from so101_robobase.arm import alignment as alignments
    from so101_robobase.arm.alignment import Alignment, Units
    from so101_robobase.robot.align.overlay import draw_comparisons, load_frames, nominal_pose
    from so101_robobase.sim.scene import build_scene

    alignment = alignments.load(args.output) if args.output.exists() else Alignment()
    scene = build_scene()
    units = Units(alignment, scene.model.actuator_ctrlrange)
    pose = alignment.camera or nominal_pose()
    if args.camera_pos:
        pose = replace(pose, pos=tuple(args.camera_pos))
    if args.camera_euler:
        pose = replace(pose, euler=tuple(args.camera_euler))
    if args.camera_fovy is not None:
        pose = replace(pose, fovy=args.camera_fovy)

    def save(found: CameraPose) -> None:
        alignments.save(replace(alignment, camera=found), args.output)

    if live:
        return _live(args, scene, alignment, units, pose, save)
    if args.port is not None:
        _capture(args, alignment, units)
    frames = load_frames(args.frames, units)
    overlays = args.overlays or args.frames / "overlays"
    if args.fit:
        pose = _fit(args, scene, frames, pose)
    draw_comparisons(scene, frames, pose, overlays)
    print(f"overlays: {overlays}")
    if args.adjust:
        adjusted = _adjust(scene, frames, pose, overlays)
        if adjusted is None:
            print("nothing was written")
            return 0
        pose = adjusted
    save(pose)
    _print_written(pose, args.output)
    return 0


def _print_written(pose: CameraPose, output: Path) -> None:
    print(f"camera_pos {_numbers(pose.pos)} m, camera_euler {_numbers(pose.euler)} rad, ", end="")
    print(f"camera_fovy {pose.fovy:.2f} degrees")
    print(f"written to {output}; train with env.scene.alignment={output}")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _live(
    args: argparse.Namespace,
    scene: Scene,
    alignment: Alignment,
    units: Units,
    pose: CameraPose,
    save: Callable[[CameraPose], None],
) -> int:
    import shutil

    from so101_robobase.robot.align.live_overlay import HELP, PoseEditor, live_overlay
    from so101_robobase.robot.person.keys import has_keys, terminal_keys

    if not has_keys():
        raise UserError("--live takes keys from a terminal, and there is none here; see --adjust")

    def say(status: str) -> None:
        print(f"\r\x1b[K{status[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)

    editor = PoseEditor(pose, save)
    with _arm(args, alignment) as (driver, camera):
        screen = _screen(args)
        try:
            print(f"look at {screen.what}\n{HELP}")
            print("Hold the arm: torque goes off now. Move it by hand; hold it still to compare.")
            with terminal_keys() as keys:
                live_overlay(scene, units, driver, camera, editor, screen, keys, say)
        finally:
            print()
            screen.close()
            if editor.saved:
                _print_written(editor.pose, args.output)
            else:
                print(
                    "the last changes are not saved; to go on from here: "
                    f"--camera_pos {_numbers(editor.pose.pos)} "
                    f"--camera_euler {_numbers(editor.pose.euler)} "
                    f"--camera_fovy {editor.pose.fovy:.2f}"
                )
    return 0


def _screen(args: argparse.Namespace) -> Screen:
    from so101_robobase.robot.align.live_overlay import PngScreen, RerunScreen
    from so101_robobase.robot.recording.display import has_screen

    if args.live_png is None and has_screen():
        return RerunScreen()
    return PngScreen(args.live_png or LIVE_PNG)


@contextmanager
def _arm(
    args: argparse.Namespace, alignment: Alignment
) -> Iterator[tuple[LeRobotDriver, RatedCamera]]:
    """Arm and camera, open and checked; closed at the end."""
    from so101_robobase.arm.alignment import check_same_arm
    from so101_robobase.base.arguments import parse_frame_size
    from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
    from so101_robobase.robot.real.wrist_camera import make_camera

    if args.port is None or args.calibration is None or args.camera is None:
        raise UserError("an arm needs --port, --calibration and --camera")
    check_same_arm(alignment, args.output, args.calibration)
    height, width = parse_frame_size(args.camera_size)
    camera = make_camera(args.camera, width, height, args.camera_fps)
    driver = LeRobotDriver(args.port, args.calibration)
    try:
        camera.open()
        driver.bus.open()
        driver.check_servos()
        yield driver, camera
    finally:
        driver.close()
        camera.close()


def _capture(args: argparse.Namespace, alignment: Alignment, units: Units) -> None:
    from so101_robobase.robot.align.overlay import FRAMES_FILE, capture, save_frames

    if (args.frames / FRAMES_FILE).exists():
        raise UserError(
            f"{args.frames} holds frames already; leave --port out to use them, or name another "
            "--frames"
        )
    with _arm(args, alignment) as (driver, camera):
        print("Hold the arm: torque goes off now.")
        frames = capture(driver, units, lambda: camera.grab()[1], input, args.num_frames)
    save_frames(frames, args.frames)


def _fit(
    args: argparse.Namespace, scene: Scene, frames: Sequence[Frame], pose: CameraPose
) -> CameraPose:
    from dataclasses import replace

    from tqdm import tqdm

    from so101_robobase.robot.align.overlay import fit_camera

    if args.segmentation is not None:
        from so101_robobase.perception.segmentation.inference import SegmentationInference

        network = SegmentationInference(args.segmentation, args.device)
        frames = [
            frame if frame.ids is not None else replace(frame, ids=network.predict(frame.picture))
            for frame in frames
        ]
    fit = fit_camera(
        scene,
        frames,
        pose,
        fit_fovy=not args.keep_fovy,
        progress=lambda rounds: tqdm(rounds, desc="fit", unit="generation"),
    )
    print(f"pixels whose class agrees: {fit.before:.1%} before, {fit.after:.1%} after")
    return fit.pose


def _adjust(
    scene: Scene, frames: Sequence[Frame], pose: CameraPose, overlays: Path
) -> CameraPose | None:
    """The pose that the person is content with; None if they are not."""
    from so101_robobase.robot.align.overlay import adjusted, draw_comparisons

    print(
        "Type changes such as: x 2 rx -1 f 0.5 (x right, y up, z back in mm; rx ry rz in degrees; "
        "f: field of view). w writes, q leaves."
    )
    while True:
        line = input("> ").strip()
        if line == "w":
            return pose
        if line == "q":
            return None
        try:
            pose = adjusted(pose, line)
        except UserError as error:
            print(error)
            continue
        draw_comparisons(scene, frames, pose, overlays)
        print(pose)
