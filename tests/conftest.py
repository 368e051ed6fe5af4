"""Scripts to import from, and OpenGL where it is needed: `@pytest.mark.opengl`, `opengl`."""

import functools
import signal
import sys
from pathlib import Path

import pytest

# Scripts, not packages: their folder is where they import from each other.
for folder in ("benchmarks", "docs"):
    sys.path.append(str(Path(__file__).parents[1] / folder))


def pytest_configure() -> None:
    """Tests send SIGINT and SIGHUP; a shell has its background jobs ignore one, nohup the other."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("opengl"):
        _skip_without_opengl()


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skips what asks for it, with the reason, where OpenGL cannot be started."""
    _skip_without_opengl()


def _skip_without_opengl() -> None:
    if reason := _what_ails_opengl():
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
