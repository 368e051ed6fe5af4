"""Every kind of file that a stranger may send: a sound one, how to damage it, and who reads it."""

import importlib.util
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mutations
import numpy as np
import yaml

from robobase.metrics_csv import read_table, step_of
from so101_robobase.arm import alignment as alignments
from so101_robobase.arm.alignment import Alignment, CameraPose, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.servos import ServoModel
from so101_robobase.experiments.runs import find_runs
from so101_robobase.experiments.tables import comparison_rows, setting_rows
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.scenes import Pool
from so101_robobase.perception.segmentation import config as segmentation
from so101_robobase.perception.segmentation.sources import open_source
from so101_robobase.robot.align.joint_fit import POSES, fit_joints, load_readings, save_readings
from so101_robobase.robot.align.overlay import Frame, load_frames, save_frames
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.robot.emulator.servo_calibration import calibrate
from so101_robobase.robot.real.lerobot_calibration import Calibration
from so101_robobase.robot.recording.episode_log import EpisodeLog, read
from so101_robobase.robot.safety import limits
from so101_robobase.sim.corruption import CorruptionConfig, IdCorruption
from so101_robobase.sim.scene import SceneConfig, with_camera
from so101_robobase.vision.picture_files import read_mask, read_picture

RANGES = np.array([[-2.0, 2.0]] * 6)
UNITS = Units(Alignment(), RANGES)


class Kind(NamedTuple):
    """One kind of file.

    Attributes:
        make: writes a sound one (and what belongs to it) into a folder; returns its path.
        damage: content -> damaged content.
        read: what the commands do with it.
    """

    make: Callable[[Path], Path]
    damage: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]


def _bytes(content: bytes, rng: random.Random) -> bytes:
    return mutations.of_bytes(content, rng)


def _json(content: bytes, rng: random.Random) -> bytes:
    return mutations.json_files(json.loads(content), rng)


def _yaml(content: bytes, rng: random.Random) -> bytes:
    return mutations.yaml_files(yaml.safe_load(content), rng)


def _csv(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return mutations.of_bytes(content, rng)
    rows = mutations.of_values([line.split(",") for line in content.decode().splitlines()], rng)
    try:
        lines = (",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
        return ("\n".join(lines) + "\n").encode()
    except (TypeError, ValueError):  # nothing that a table could be made of
        return b"\xff"


def _written(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return make


def _alignment(folder: Path) -> Path:
    ones = (1.0,) * 6
    servos = ServoModel(ones, ones, ones, ones, 0.05)
    camera = CameraPose((0.0, 0.04, -0.06), (-0.4, 0.0, 0.0), 70.0)
    alignments.save(Alignment(camera=camera, servos=servos, arm="mine"), folder / "arm.yaml")
    return folder / "arm.yaml"


def _read_alignment(path: Path) -> None:
    found = alignments.load(path)
    Units(found, RANGES).to_model(np.zeros(6))
    SceneConfig(servos=found.servos)
    if found.camera is not None:
        with_camera(SceneConfig(), found.camera)


def _readings(folder: Path) -> Path:
    opening = [[0.0 if pose.gripper == "closed" else 100.0] for pose in POSES]
    servo = np.hstack([np.array([pose.angles for pose in POSES]), opening])
    save_readings(servo, folder / "readings.yaml")
    return folder / "readings.yaml"


_REPORT = {
    "settings": {"num_images": 5},
    "iou": {"cube": 0.9},
    "corruption": {
        "boundary": 0.5,
        "blobs": [0.0, 1.0, 3.0],
        "missing": 0.02,
        "confusion": (10 * np.eye(6) + 1).tolist(),
    },
}


def _read_report(path: Path) -> None:
    spoil = IdCorruption(CorruptionConfig(enabled=True, report=str(path)))
    ids = np.zeros((2, 84, 84), np.uint8)
    ids[:, 20:60, 20:60] = 3
    spoil(ids, np.arange(2), np.arange(2))


def _calibration(folder: Path) -> Path:
    path = folder / "arm.json"
    path.write_text(json.dumps(calibrate(RANGES, 0).as_lerobot(), indent=4))
    return path


def _read_calibration(path: Path) -> None:
    calibration = Calibration(path)
    calibration.to_counts(calibration.to_servo(np.full(6, 2000)))


def _frames(folder: Path) -> Path:
    picture = np.zeros((24, 32, 3), np.uint8)
    frame = Frame(picture, np.zeros(6), np.zeros((24, 32), np.uint8))
    save_frames([frame, frame], folder)
    return folder / "frames.json"


def _pair(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    picture = rng.integers(0, 256, (24, 32, 3), np.uint8)
    cv2.imwrite(str(folder / "images/a.png"), picture)
    cv2.imwrite(str(folder / "masks/a.png"), rng.integers(0, 6, (24, 32), np.uint8))


def _beside_a_pair(name: str, content: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        _pair(folder)
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
        return folder / name

    return make


def _read_pairs(folder: Path) -> None:
    data = LabelledPictures(folder)
    for index in range(len(data)):
        data[index]


_OURS = ["unlabeled", "background", "table", "cube", "static_finger", "moving_finger"]
_COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[1, 1, 20, 1, 20, 20, 1, 20]],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 2,
            "segmentation": {"size": [24, 32], "counts": [100, 20, 648]},
        },
        {
            "id": 3,
            "image_id": 1,
            "category_id": 2,
            "segmentation": {"size": [24, 32], "counts": "T3d0Xd0"},
        },
    ],
    "categories": [{"id": 1, "name": "table"}, {"id": 2, "name": "cube"}],
}


def _coco(folder: Path) -> Path:
    _pair(folder)
    (folder / "annotations.json").write_text(json.dumps(_COCO))
    return folder / "annotations.json"


def _read_coco(path: Path) -> None:
    data = LabelledPictures(path)
    for index in range(len(data)):
        data[index]


_EVALUATIONS = (
    "step,env_steps,total_time,episode_success,episode_reward\n"
    "100,100,1.5,0.1,3.5\n200,200,2.5,,4\n300,300,4,0.9,7.25\n"
)


def _read_evaluations(path: Path) -> None:
    runs = find_runs([path.parent])
    comparison_rows(runs, (0.9, 0.95))
    setting_rows(runs, 0.9)


def _read_table(path: Path) -> None:
    _, rows = read_table(path)
    for row in rows:
        step_of(row, 0, path)


def _recording(folder: Path) -> Path:
    times = np.arange(10) * 0.02
    joints = np.zeros((10, 6))
    plain = alignments.to_plain(Alignment())
    meta = {"alignment": plain, "cube": [0.2, 0, 0.015, 1, 0, 0, 0], "control_period": 0.02}
    EpisodeLog(times, joints, joints, meta).save(folder / "episode.npz")
    return folder / "episode.npz"


def _read_recording(path: Path) -> None:
    log = EpisodeLog.load(path)
    recorded = log.meta.get("alignment")
    if recorded:
        alignments.from_plain(recorded)


def _pool(folder: Path) -> Path:
    Pool(np.zeros((8, 13)), np.full(8, 0.015)).save(folder / "states.npz", "a")
    return folder / "states.npz"


def _picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"a{suffix}"), cv2.resize(picture, (64, 48)))
        return folder / f"a{suffix}"

    return make


def _video(suffix: str, codec: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"a{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
        for k in range(5):
            writer.write(np.full((48, 64, 3), 20 * k, np.uint8))
        writer.release()
        return path

    return make


def _read_video(path: Path) -> None:
    for _ in open_source(str(path)).frames:
        pass


def _settings(folder: Path) -> Path:
    from omegaconf import OmegaConf

    path = folder / "config.yaml"
    path.write_text(OmegaConf.to_yaml(segmentation.settings("home")))
    return path


def _dataset(folder: Path) -> Path:
    """A LeRobotDataset of two episodes; the path of its steps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"{joint}.pos" for joint in JOINTS]
    kind = {"dtype": "float32", "shape": [6], "names": names}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so101_follower",
        "fps": 30,
        "total_episodes": 2,
        "total_frames": 10,
        "features": {"observation.state": kind, "action": kind},
    }
    _written("meta/info.json", json.dumps(info))(folder)
    joints = pa.array(np.zeros((10, 6), np.float32).tolist(), pa.list_(pa.float32(), 6))
    columns = {
        "episode_index": pa.array([0] * 5 + [1] * 5),
        "timestamp": pa.array([*np.arange(5) / 30] * 2, pa.float32()),
        "observation.state": joints,
        "action": joints,
    }
    path = folder / "data/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def _dataset_info(folder: Path) -> Path:
    _dataset(folder)
    return folder / "meta/info.json"


KINDS = {
    "alignment": Kind(_alignment, _yaml, _read_alignment),
    "readings": Kind(_readings, _yaml, lambda path: fit_joints(load_readings(path))),
    "limits": Kind(
        _written("limits.yaml", "safety: {floor: 0.01, max_lead: [0.1, 0.1, 0.1, 0.1, 0.1, 0.2]}\n"
                 "monitor: {temperature_stop: 55, temperature_hold: 50}\n"),
        _yaml, limits.load,
    ),
    "faults": Kind(
        _written("faults.yaml", "- {kind: drop, servos: [1, 2], probability: 0.5, count: 3}\n"
                 "- {kind: overheat, start: 3, duration: 1.5, value: 90}\n"),
        _yaml, load_schedule,
    ),
    "parity report": Kind(_written("parity.json", json.dumps(_REPORT)), _json, _read_report),
    "calibration": Kind(_calibration, _json, _read_calibration),
    "frames": Kind(_frames, _json, lambda path: load_frames(path.parent, UNITS)),
    "class map": Kind(
        _beside_a_pair("class_map.yaml", {"block": "cube", "desk": "table"}),
        _yaml, lambda path: _read_pairs(path.parent),
    ),
    "classes": Kind(
        _beside_a_pair("classes.yaml", {name: k for k, name in enumerate(_OURS)}),
        _yaml, lambda path: _read_pairs(path.parent),
    ),
    "dataset.yaml": Kind(
        _beside_a_pair("dataset.yaml", {"format": 1, "classes": _OURS, "num_images": 1}),
        _yaml, lambda path: _read_pairs(path.parent),
    ),
    "COCO": Kind(_coco, _json, _read_coco),
    "evaluations": Kind(_written("run/eval.csv", _EVALUATIONS), _csv, _read_evaluations),
    "overrides": Kind(
        lambda folder: (
            _written("run/eval.csv", _EVALUATIONS)(folder),
            _written("run/.hydra/overrides.yaml", "- env.stage=0\n- seed=1\n")(folder),
        )[1],
        _yaml, lambda path: _read_evaluations(path.parents[1] / "eval.csv"),
    ),
    "metrics": Kind(_written("train.csv", _EVALUATIONS), _csv, _read_table),
    "segmentation settings": Kind(
        _settings, _yaml, lambda path: segmentation.checked(segmentation.stored(path))
    ),
    "recording": Kind(_recording, _bytes, _read_recording),
    "pool": Kind(_pool, _bytes, lambda path: Pool.load(path, "a")),
    "PNG": Kind(_picture(".png"), _bytes, read_picture),
    "JPEG": Kind(_picture(".jpg"), _bytes, read_picture),
    "BMP": Kind(_picture(".bmp"), _bytes, read_mask),
    "WebP": Kind(_picture(".webp"), _bytes, read_picture),
    "MP4": Kind(_video(".mp4", "mp4v"), _bytes, _read_video),
    "AVI": Kind(_video(".avi", "MJPG"), _bytes, _read_video),
}  # fmt: skip
if importlib.util.find_spec("pyarrow") is not None:
    KINDS |= {
        "LeRobot dataset": Kind(_dataset, _bytes, lambda path: read(path.parents[2], UNITS)),
        "LeRobot info": Kind(_dataset_info, _json, lambda path: read(path.parents[1], UNITS)),
    }
