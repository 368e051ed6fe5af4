"""One run of `so101_robobase perception parity`: compare, let a policy act, write the report."""

import argparse
import json
from typing import Any

import cv2
import numpy as np

from robobase.run_snapshot import locate
from so101_robobase.arm.alignment import measured_camera
from so101_robobase.base.arguments import parse_frame_size
from so101_robobase.base.files import RUNS, claimed, written_whole
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.report import table
from so101_robobase.evaluation.session import parse_overrides, play
from so101_robobase.evaluation.statistics import summarise
from so101_robobase.perception.calibration import calibrate, measure
from so101_robobase.perception.dataset import DatasetSettings, scene_pool
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.parity import Comparison, action_difference, compare
from so101_robobase.sim.sight import SCENE
from so101_robobase.vision import pictures
from so101_robobase.vision.observation import CLASSES, center_crop
from so101_robobase.vision.picture_files import write_png

_TILE = 168  # pixels along an edge in the picture
_POLICY_SEED = 2_000_000  # as `so101_robobase evaluate`
_ACTING = (60, 16)  # policy steps and episodes over which actions are compared


def run_parity(args: argparse.Namespace) -> dict[str, Any]:
    """Does what the command line says; returns what parity.json holds.

    Raises:
        UserError: an argument that cannot be used; nothing has been written by then.
    """
    with claimed(args.output, RUNS, ("parity.json",), "a parity report", "--output"):
        return _run(args)


def _run(args: argparse.Namespace) -> dict[str, Any]:
    height, width = parse_frame_size(args.size)
    if args.snapshot is not None:
        args.snapshot = locate(args.snapshot)
    settings = DatasetSettings.randomized(
        args.widen,
        width=width,
        height=height,
        seed=args.seed,
        camera=measured_camera(args.alignment) if args.alignment else None,
    )
    eyes = Eyes(args.segmentation, args.depth, args.device)
    sights = worlds(args.segmentation, args.depth, (width, height)) if args.snapshot else {}
    given = parse_overrides(args.overrides)
    snapshot = str(args.snapshot)  # where there are sights
    policies = {
        name: load_policy(snapshot, "cpu", {**given, **sight}) for name, sight in sights.items()
    }

    comparison = compare(settings, scene_pool(args.output, settings, 1), eyes, args.num_images)
    figures = _figures(comparison)
    report = {"settings": _settings(args), **figures}
    print(_picture_table(figures))
    if policies:
        report["policy"] = {}
        for name, policy in policies.items():
            summary = summarise(play(policy, args.num_episodes, seed=_POLICY_SEED)[0])
            low, high = summary.success_interval
            report["policy"][name] = {
                "success": summary.success_rate,
                "interval": [low, high],
                "episodes": summary.num_episodes,
            }
        steps, envs = _ACTING
        difference = action_difference(policies[_SEEN], steps, envs, _POLICY_SEED)
        report["action_difference"] = [round(float(value), 4) for value in difference]
        print(_policy_table(report))
    with written_whole(args.output / "parity.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n")
    write_png(args.output / "parity.png", picture(comparison)[..., ::-1])
    print(f"report: {args.output / 'parity.json'}, picture: {args.output / 'parity.png'}")
    return report


_SEEN = "as the networks see it"


def worlds(
    segmentation: str | None, depth: str, camera: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    """What a policy is shown -> overrides of its config; the networks bring their own mistakes.

    Args:
        segmentation, depth: as `env.sight` takes them.
        camera: width and height of the frames that the networks look at.
    """
    truth: dict[str, Any] = {
        "env.corruption.enabled": False,
        "env.randomization.physical.enabled": False,
        "env.sight.segmentation": None,
        "env.sight.depth": SCENE,
    }
    looks = {**truth, "env.randomization.visual.enabled": True}
    return {
        "as it is": {**truth, "env.randomization.visual.enabled": False},
        "with random looks": looks,
        _SEEN: {
            **looks,
            "env.sight.segmentation": segmentation,
            "env.sight.depth": depth,
            "env.sight.camera": list(camera),
        },
    }


def picture(comparison: Comparison) -> np.ndarray:
    """(K * tile, 5 * tile, 3) uint8 RGB: frame, ids and disparity seen, ids and disparity true."""
    rows = []
    for frame, seen, true in zip(comparison.frames, comparison.seen, comparison.true, strict=False):
        rgb = cv2.resize(center_crop(frame, (0, 1)), (_TILE, _TILE), interpolation=cv2.INTER_AREA)
        row = [rgb]
        for ids, disparity in (seen, true):
            row += [pictures.segmentation(ids, _TILE), pictures.disparity(disparity, _TILE)]
        rows.append(np.hstack(row))
    titles = ("camera", "ids seen", "disparity seen", "simulator's ids", "its disparity")
    header = np.hstack([pictures.strip(_TILE, title) for title in titles])
    return np.vstack([header, *rows])


def _figures(comparison: Comparison) -> dict[str, Any]:
    true, seen = comparison.true[:, 0], comparison.seen[:, 0]
    confusion, mistakes = comparison.confusion, measure(true, seen)
    return {
        "iou": dict(zip(CLASSES, np.round(confusion.iou, 4).tolist(), strict=True)),
        "mean_iou": round(confusion.mean_iou, 4),
        "disparity": {key: round(value, 4) for key, value in comparison.disparity().items()},
        "mistakes": {
            "near_edges": round(mistakes.near_edges, 4),
            "elsewhere": round(float(mistakes.elsewhere.mean()), 2)
            if len(mistakes.elsewhere)
            else 0,
            "missing": round(mistakes.missing, 4),
        },
        "corruption": calibrate(true, mistakes),
    }


def _picture_table(figures: dict[str, Any]) -> str:
    rows = [[f"IoU {name}", f"{value:.3f}"] for name, value in figures["iou"].items()]
    rows += [["mean IoU", f"{figures['mean_iou']:.3f}"]]
    rows += [[f"disparity: {key}", f"{value:.3f}"] for key, value in figures["disparity"].items()]
    return table([[name.replace("_", " "), value] for name, value in rows])


def _policy_table(report: dict[str, Any]) -> str:
    rows = []
    for name, figures in report["policy"].items():
        low, high = figures["interval"]
        success = f"{figures['success']:.1%} ({low:.1%} to {high:.1%})"
        rows.append([f"success on the scene {name}", success])
    difference = float(np.mean(report["action_difference"]))
    rows.append(["mean absolute difference of the actions", f"{difference:.3f}"])
    return table(rows)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = ("segmentation", "depth", "num_images", "seed", "widen", "size", "num_episodes")
    paths = {name: getattr(args, name) for name in ("snapshot", "alignment")}
    texts = {name: None if path is None else str(path) for name, path in paths.items()}
    return {name: getattr(args, name) for name in names} | texts
