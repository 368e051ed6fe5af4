"""Triton is loaded before OpenGL: after Mesa 22's LLVM, triton 3.7 ends the process (exit 139)."""

import importlib.util
import subprocess
import sys

import pytest

from robobase import triton_first
from so101_robobase.sim import gl_context
from so101_robobase.sim.scene import build_scene

OURS_FIRST = """
from so101_robobase.sim.gl_renderer import GLRenderer
from so101_robobase.sim.scene import build_scene
GLRenderer(build_scene(), 8, 8)
"""
SOMEBODY_ELSES_FIRST = (
    """
import os
os.environ["MUJOCO_GL"] = "egl"
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
theirs = mujoco.Renderer(model, 8, 8)
"""
    + OURS_FIRST
)
AN_OPTIMISER_STEP = """
import torch
weight = torch.nn.Parameter(torch.zeros(3))
weight.grad = torch.ones(3)
torch.optim.Adam([weight]).step()
"""


@pytest.fixture
def installed_triton(tmp_path, monkeypatch):
    """A package of that name, which nothing has imported."""
    (tmp_path / "triton.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.setattr(triton_first, "_has_llvm", lambda: False)
    yield
    sys.modules.pop("triton", None)


def test_a_context_is_opened_after_triton_was_loaded(installed_triton, monkeypatch):
    def opened(backend):
        assert "triton" in sys.modules
        raise AttributeError("no library here")

    monkeypatch.setattr(gl_context, "_context_class", opened)
    with pytest.raises(gl_context.GLUnavailableError, match="its library is missing"):
        gl_context.GLContext(build_scene().model, 8, 8)


def test_after_somebody_elses_context_triton_is_hidden(installed_triton, monkeypatch):
    monkeypatch.setattr(triton_first, "_has_llvm", lambda: True)
    triton_first.load_triton()
    assert importlib.util.find_spec("triton") is None
    with pytest.raises(ImportError):
        import triton  # noqa: F401


def test_a_broken_triton_is_left_to_torch(tmp_path, installed_triton):
    (tmp_path / "triton.py").write_text("raise RuntimeError('no driver')")
    triton_first.load_triton()
    assert "triton" not in sys.modules


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="needs triton, as torch's CUDA builds bring it: pip install triton==3.7.1",
)
@pytest.mark.opengl
@pytest.mark.parametrize("before", [OURS_FIRST, SOMEBODY_ELSES_FIRST], ids=["ours", "theirs"])
def test_after_a_picture_an_optimiser_takes_its_step(before):
    program = before + AN_OPTIMISER_STEP
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
