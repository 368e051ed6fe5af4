"""Renderers that several files draw with."""

import pytest

from so101_robobase.sim.gl_renderer import GLRenderer
from so101_robobase.sim.ray_renderer import RayRenderer
from so101_robobase.sim.scene import build_scene


@pytest.fixture(scope="module")
def scene():
    return build_scene()


@pytest.fixture(scope="module")
def gl(scene, opengl):
    renderer = GLRenderer(scene, 84, 84)
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def ray(scene):
    renderer = RayRenderer(scene, 84, 84)
    yield renderer
    renderer.close()
