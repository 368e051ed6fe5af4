"""Scripts to import from, and OpenGL where it is needed: `@pytest.mark.opengl`, `opengl`."""

import functools
import os
import signal
import sys
from pathlib import Path

import pytest

# Scripts, not packages: their folder is where they import from each other.
for folder in ("benchmarks", "docs"):
    sys.path.append(str(Path(__file__).parents[1] / folder))


MEMORY = 2 * 2**30  # bytes of a process that has been through a share of the tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """How many processes share the fast tests, by cores and memory; 0: this process alone.

    One file is not worth starting others for, and slow tests measure times.
    """
    from robobase.memory import available_memory

    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    one_file = len(config.args) == 1 and config.args[0].partition("::")[0].endswith(".py")
    if one_file or config.option.markexpr != "not slow":
        return 0
    return max(1, min(8, _cores(), (available_memory() or 8 * MEMORY) // MEMORY))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_configure() -> None:
    """Tests send SIGINT and SIGHUP; a shell has its background jobs ignore one, nohup the other."""
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # before torch is imported
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // int(workers))))
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
