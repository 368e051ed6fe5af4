"""Frames per second of class ids + depth, by renderer: `python benchmarks/render_throughput.py`."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from _machine import machine_line

SEED = 0
BATCH = 16
SECONDS = 2.0
ROUNDS = 3
SIZE = 84


def states() -> np.ndarray:
    """(BATCH, 13): the arm above the table pointing down, the cube in the camera's view."""
    rng = np.random.default_rng(SEED)
    qpos = np.tile([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0], (BATCH, 1))
    qpos[:, :6] += rng.normal(size=(BATCH, 6)) * 0.2
    return qpos


def frames_per_second(render: Callable[[np.ndarray], object]) -> float:
    """The best of ROUNDS: what the machine does when nothing else disturbs it."""
    qpos = states()
    render(qpos)
    rates = []
    for _ in range(ROUNDS):
        start, frames = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS / ROUNDS:
            render(qpos)
            frames += BATCH
        rates.append(frames / (time.perf_counter() - start))
    return max(rates)


def measure(name: str) -> float:
    """Frames per second of the renderer `name`; runs in a process of its own."""
    from so101_robobase.sim.renderer import make_renderer
    from so101_robobase.sim.scene import build_scene
    from so101_robobase.vision import observation

    scene = build_scene()
    if name == "gl, full meshes":
        scene = replace(scene, render_model=scene.model, class_of_geom=scene.class_of_geom_full)
    renderer = make_renderer("ray" if name == "rays" else "gl", scene, SIZE, SIZE)

    def observe(qpos: np.ndarray) -> np.ndarray:
        ids, depth = renderer.render(qpos)
        return observation.seg_depth(ids, observation.disparity_from_depth(depth))

    render = {"gl + seg_depth": observe, "gl, colours": renderer.render_rgb}
    rate = frames_per_second(render.get(name, renderer.render))
    renderer.close()
    return rate


def main() -> None:
    """Print a markdown table; each row is measured alone in a fresh process."""
    rows = [
        ("gl", "0"),
        ("gl", "1"),
        ("gl", "2"),
        ("gl + seg_depth", "0"),
        ("gl, full meshes", "0"),
        ("gl, colours", "0"),
        ("rays", "0"),
    ]
    rates = []
    for name, threads in rows:
        os.environ["LP_NUM_THREADS"] = threads
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rates.append(process.submit(measure, name).result())
    print(f"{machine_line('mujoco')}, seed {SEED}, {SIZE}x{SIZE}, batches of {BATCH}\n")
    print("| renderer | LP_NUM_THREADS | frames/s | ms/frame | relative to gl |")
    print("|---|---:|---:|---:|---:|")
    for (name, threads), rate in zip(rows, rates, strict=True):
        print(f"| {name} | {threads} | {rate:.0f} | {1e3 / rate:.2f} | {rate / rates[0]:.2f} |")


if __name__ == "__main__":
    main()
