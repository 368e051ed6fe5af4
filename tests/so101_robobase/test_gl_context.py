"""OpenGL contexts of threads that nobody closes before the process ends."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
from so101_robobase.sim.gl_renderer import GLRenderer
from so101_robobase.sim.scene import build_scene

kept, ready = [], threading.Event()

def look():
    kept.append(GLRenderer(build_scene(), 8, 8))
    ready.set()
    if sys.argv[1] == "waits":
        time.sleep(600)

thread = threading.Thread(target=look, daemon=True)
thread.start()
ready.wait()
if sys.argv[1] == "has ended":
    thread.join()
"""


@pytest.mark.opengl
@pytest.mark.parametrize("thread", ["waits", "has ended"])
def test_a_context_that_another_thread_has_not_closed_is_left_alone_at_exit(thread):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, thread], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stderr == ""
