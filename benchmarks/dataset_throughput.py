"""Labelled pictures per second against bare colours: `python benchmarks/dataset_throughput.py`.

One process, scenes and looks from the same ranges: colours alone, and all that `segmentation
dataset` does for a picture (draw scene and look, colours, ids, JPEG, PNG, two files). The two take
turns, so that whatever else the machine does slows down both.
"""

import argparse
import tempfile
import time
from pathlib import Path

from _machine import machine_line

SEED = 0
CHUNK = 16


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_images", type=int, default=256, help="per row")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="width, height")
    args = parser.parse_args()

    from so101_robobase.perception.dataset import (
        DatasetSettings,
        Painter,
        scene_pool,
        write_pictures,
    )
    from so101_robobase.sim.renderer import make_renderer
    from so101_robobase.sim.scene import build_scene
    from so101_robobase.sim.threads import usable_threads

    width, height = args.size
    settings = DatasetSettings.randomized(width=width, height=height, seed=SEED)
    bare = make_renderer("gl", build_scene(), height, width)
    seconds = {"colours alone": 0.0, "dataset": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        for name in ("images", "masks"):
            (output / name).mkdir()
        start = time.perf_counter()
        pool = scene_pool(output, settings, usable_threads())
        simulating = time.perf_counter() - start
        painter = Painter(settings, pool)
        for first in range(-CHUNK, args.num_images, CHUNK):  # the first turn warms up
            indices = range(first + CHUNK, first + 2 * CHUNK)
            # Other looks of the same ranges: textures that one side drew must not help the other.
            scenes = painter.draw([index + 1_000_000 for index in indices])
            start = time.perf_counter()
            bare.render_rgb(*scenes)
            middle = time.perf_counter()
            write_pictures(painter, output, indices)
            end = time.perf_counter()
            if first >= 0:
                seconds["colours alone"] += middle - start
                seconds["dataset"] += end - middle
    pictures = -(-args.num_images // CHUNK) * CHUNK
    rates = {name: pictures / spent for name, spent in seconds.items()}
    print(f"{machine_line('mujoco')}, seed {SEED}, {width}x{height}, {pictures} pictures a row\n")
    print("| one process | pictures/s | ms/picture | relative (goal of dataset: >= 0.7) |")
    print("|---|---:|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} | {1e3 / rate:.1f} | {rate / rates['colours alone']:.2f} |")
    print(f"\nSimulating the scenes, once per dataset: {simulating:.0f} s")


if __name__ == "__main__":
    main()
