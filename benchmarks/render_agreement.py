"""How alike renderers and meshes see 200 random states: `python benchmarks/render_agreement.py`."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from _machine import machine_line

from so101_robobase.sim.gl_renderer import GLRenderer
from so101_robobase.sim.ray_renderer import RayRenderer
from so101_robobase.sim.scene import build_scene
from so101_robobase.vision import observation

sys.path.append(str(Path(__file__).parent.parent / "tests" / "so101_robobase"))
from test_renderer import iou, random_states

STATES, SEED, SIZE = 200, 0, 84


def main() -> None:
    scene = build_scene()
    qpos = random_states(scene, STATES, SEED)
    gl, rays = GLRenderer(scene, SIZE, SIZE), RayRenderer(scene, SIZE, SIZE)
    full_scene = replace(scene, render_model=scene.model, class_of_geom=scene.class_of_geom_full)
    full = GLRenderer(full_scene, SIZE, SIZE)
    (ids, depth), (ray_ids, ray_depth) = gl.render(qpos), rays.render(qpos)
    full_ids, full_depth = full.render(qpos)
    print(f"{STATES} random states, seed {SEED}, {SIZE}x{SIZE}\n")
    names = [class_id.name.lower() for class_id in observation.ClassId]
    print("| reduced-mesh GL against | same id | " + " | ".join(f"IoU {n}" for n in names[2:])
          + " | disparity within 3 levels, where ids agree |")  # fmt: skip
    print("|---|---|" + "---|" * (len(names) - 1))
    for name, other, other_depth in (
        ("full-mesh GL", full_ids, full_depth),
        ("rays", ray_ids, ray_depth),
    ):
        agree = ids == other
        ious = [f"{iou(ids, other, c):.3f}" for c in range(2, len(names))]
        near = np.abs(_disparity(ids, depth) - _disparity(other, other_depth)) <= 3
        print(f"| {name} | {agree.mean():.2%} | {' | '.join(ious)} | {near[agree].mean():.2%} |")
    print(f"\n{machine_line('mujoco', 'numpy')}")


def _disparity(ids: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return observation.seg_depth(ids, observation.disparity_from_depth(depth))[:, 1].astype(int)


if __name__ == "__main__":
    main()
