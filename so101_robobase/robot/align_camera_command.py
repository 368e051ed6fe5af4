"""`so101_robobase robot align camera`: the wrist camera's pose, by overlay and by a fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from so101_robobase.robot.alignment import CameraPose, Units
    from so101_robobase.robot.overlay import Frame
    from so101_robobase.sim.scene import Scene


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
        required=True,
        help="folder of pictures with a frames.json of their joint positions; with --port it is "
        "written first",
    )
    parser.add_argument(
        "--overlays",
        type=Path,
        help="folder for pictures of real and simulated view (default: <frames>/overlays)",
    )
    arm = parser.add_argument_group("arm, to take the pictures with")
    arm.add_argument("--port", help="serial port of the arm, such as /dev/ttyACM0")
    arm.add_argument(
        "--calibration", type=Path, help="LeRobot's calibration file of this arm (JSON)"
    )
    arm.add_argument("--camera", help="index or path of the wrist camera, such as 0")
    arm.add_argument("--camera_size", default="640x480", help="default: %(default)s")
    arm.add_argument("--camera_fps", type=int, default=30, help="default: %(default)s")
    arm.add_argument("--num_frames", type=int, default=6, help="default: %(default)s")
    pose = parser.add_argument_group("where to begin, in the gripper's frame")
    pose.add_argument("--camera_pos", type=float, nargs=3, metavar=("X", "Y", "Z"), help="m")
    pose.add_argument("--camera_euler", type=float, nargs=3, metavar=("A", "B", "C"), help="rad")
    pose.add_argument("--camera_fovy", type=float, help="degrees, vertical")
    fit = parser.add_argument_group("fit")
    fit.add_argument(
        "--fit", action="store_true", help="find the pose whose class ids agree with the pictures'"
    )
    fit.add_argument(
        "--keep_fovy", action="store_true", help="of a camera whose field of view is known"
    )
    fit.add_argument(
        "--segmentation",
        metavar="CHECKPOINT",
        help="network that finds class ids in pictures for which frames.json names none",
    )
    fit.add_argument("--device", default="cpu", help="of the network (default: %(default)s)")
    parser.add_argument(
        "--adjust",
        action="store_true",
        help="change the pose line by line and look at the overlays, which are written anew",
    )


def run(args: argparse.Namespace) -> int:
    """Takes pictures if asked to, fits or adjusts, draws overlays and writes the alignment."""
    from dataclasses import replace

    from so101_robobase.robot import alignment as alignments
    from so101_robobase.robot.alignment import Alignment, Units
    from so101_robobase.robot.overlay import draw_comparisons, load_frames, nominal_pose
    from so101_robobase.sim.scene import build_scene

    alignment = alignments.load(args.output) if args.output.exists() else Alignment()
    scene = build_scene()
    units = Units(alignment, scene.model.actuator_ctrlrange)
    if args.port is not None:
        _capture(args, units)
    frames = load_frames(args.frames, units)
    overlays = args.overlays or args.frames / "overlays"
    pose = alignment.camera or nominal_pose()
    if args.camera_pos:
        pose = replace(pose, pos=tuple(args.camera_pos))
    if args.camera_euler:
        pose = replace(pose, euler=tuple(args.camera_euler))
    if args.camera_fovy is not None:
        pose = replace(pose, fovy=args.camera_fovy)
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
    print(
        f"camera_pos {[round(v, 4) for v in pose.pos]} m, "
        f"camera_euler {[round(v, 4) for v in pose.euler]} rad, fovy {pose.fovy:.2f} degrees"
    )
    alignments.save(replace(alignment, camera=pose), args.output)
    print(f"written to {args.output}; train with env.scene.alignment={args.output}")
    return 0


def _capture(args: argparse.Namespace, units: Units) -> None:
    from robobase.errors import UserError
    from so101_robobase.robot.lerobot_camera import LeRobotCamera
    from so101_robobase.robot.lerobot_driver import LeRobotDriver
    from so101_robobase.robot.overlay import capture, save_frames

    if args.calibration is None or args.camera is None or args.num_frames < 1:
        raise UserError("--port needs --calibration, --camera and a --num_frames of 1 or more")
    width, _, height = args.camera_size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UserError(f"--camera_size {args.camera_size}: give it as 640x480")
    camera = LeRobotCamera(args.camera, int(width), int(height), args.camera_fps)
    driver = LeRobotDriver(args.port, args.calibration)
    try:
        camera.open()
        driver.bus.open()
        driver.check_servos()
        print("Hold the arm: torque goes off now.")
        frames = capture(driver, units, lambda: camera.grab()[1], input, args.num_frames)
    finally:
        driver.close()
        camera.close()
    save_frames(frames, args.frames)


def _fit(
    args: argparse.Namespace, scene: Scene, frames: Sequence[Frame], pose: CameraPose
) -> CameraPose:
    from dataclasses import replace

    from tqdm import tqdm

    from so101_robobase.robot.overlay import fit_camera

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
    from robobase.errors import UserError
    from so101_robobase.robot.overlay import adjusted, draw_comparisons

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
