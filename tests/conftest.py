"""`@pytest.mark.opengl`: skipped, with the reason, where OpenGL cannot be started."""

import functools

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("opengl") and (reason := _what_ails_opengl()):
        pytest.skip(reason)


@functools.cache
def _what_ails_opengl() -> str:
    from so101_robobase.sim.gl_context import GLContext, GLUnavailableError
    from so101_robobase.sim.scene import build_scene

    try:
        GLContext(build_scene().render_model, 8, 8).close()
    except GLUnavailableError as error:
        return str(error)
    return ""
