"""Reduction of CAD meshes to the few thousand faces that a wrist-camera picture needs."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fast_simplification
import mujoco
import numpy as np


@dataclass(frozen=True)
class Detail:
    """How much of a mesh survives."""

    cell: float  # edge of the clusters that merge vertices first, metres
    num_faces: int  # upper target for the edge collapse that follows


FINE = Detail(cell=0.0007, num_faces=2000)
COARSE = Detail(cell=0.0015, num_faces=300)


def reduce_meshes(spec: mujoco.MjSpec, fine: Collection[str]) -> None:
    """Replace the mesh files of `spec` by reduced meshes in memory; poses stay as they are.

    Meshes named in `fine` keep `FINE` detail, the others `COARSE`. Call it before `spec` is
    compiled for the first time: compiling stores the full meshes in the spec.
    """
    folder = Path(spec.modelfiledir) / spec.meshdir
    for mesh in spec.meshes:
        path, detail = folder / mesh.file, FINE if mesh.name in fine else COARSE
        vertices, faces = _reduce(path, detail, path.stat().st_mtime_ns)
        mesh.file = ""
        mesh.uservert = vertices.ravel()
        mesh.userface = faces.ravel()
        # Clustering may open a mesh, and a volume is not needed where nothing has contacts.
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL


@lru_cache(maxsize=64)  # scenes differ in many things, hardly ever in the arm's meshes
def _reduce(path: Path, detail: Detail, changed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) float32 metres and faces (F, 3) int32 of the reduced mesh.

    `changed`: when the file was, so that a new one of the same name is read.
    """
    import trimesh  # takes seconds: not where a wrong setting is all there is to report

    mesh = trimesh.load_mesh(path)  # merges the repeated vertices of an STL file
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if len(faces) > detail.num_faces:
        # The parts' fillets and screw holes stop edge collapse at 5,000-14,000 faces each;
        # merging close vertices first removes them.
        vertices, faces = _cluster(vertices, faces, detail.cell)
    vertices, faces = vertices.astype(np.float32), faces.astype(np.int32)
    if len(faces) > detail.num_faces:
        vertices, faces = fast_simplification.simplify(
            vertices, faces, target_count=detail.num_faces
        )
    return vertices, faces


def _cluster(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Merge the vertices of each cubic cell into their mean; drop faces that collapse."""
    cells = np.floor((vertices - vertices.min(0)) / cell).astype(np.int64)
    _, cluster = np.unique(cells @ (1 << np.array([40, 20, 0])), return_inverse=True)
    count = np.bincount(cluster)
    means = np.stack([np.bincount(cluster, axis) / count for axis in vertices.T], axis=1)
    faces = cluster[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return means, faces[np.sort(first)]
