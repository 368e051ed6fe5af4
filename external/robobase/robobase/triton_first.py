"""Triton comes before OpenGL: two libraries that bring an LLVM each, and bear one order only.

Mesa makes its LLVM visible to the whole process. A triton (3.7) that is loaded later takes that
one's functions for its own and the process dies with a segmentation fault. torch loads triton late:
with the first step of an optimiser.
"""

import contextlib
import importlib
import sys
from pathlib import Path


def load_triton() -> None:
    """Call before an OpenGL context is opened: imports triton where it is installed (0.2 s).

    Where somebody else's context was opened first, triton is hidden instead, and torch does
    without it, as it does where there is none.
    """
    if "triton" in sys.modules:
        return
    if _has_llvm():
        sys.modules["triton"] = None  # type: ignore[assignment]  # "not there", to every import
        return
    with contextlib.suppress(Exception):  # a broken one too is torch's business
        importlib.import_module("triton")


def _has_llvm() -> bool:
    """Whether a shared LLVM has been loaded into this process; False where that is not told."""
    try:
        return "libLLVM" in Path("/proc/self/maps").read_text()
    except OSError:
        return False
