"""What this machine is for us: each part looked at, and what to do where something is amiss.

Only the standard library is imported at the top: it runs where torch, MuJoCo or OpenGL do not.
"""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from robobase.errors import one_line
from robobase.memory import GIB, available_memory

if TYPE_CHECKING:
    from so101_robobase.sim.renderer import Renderer

_SIZE, _BATCH = 84, 16  # pixels, and pictures at once, as in training
_SECONDS = 0.5  # of rendering
_REPLAY = 1.4 * GIB  # bytes, of 100,000 policy steps of seg_depth
_RUN = 0.2 * GIB  # bytes of a run folder, without the replay buffer that a stopped run leaves
_SHARED = GIB // 16  # bytes; what Docker gives
_REINSTALL = "pip install -c constraints.txt -e . in the checkout, once more"


class State(Enum):
    """Of a part."""

    OK = "ok"
    HINT = "could be better"
    BAD = "amiss"


class Finding(NamedTuple):
    """What was found of one part, and what mends it."""

    part: str
    text: str
    state: State = State.OK
    mend: str = ""


def examine() -> Iterator[Finding]:
    """Every part in turn; one that cannot be looked at says why, and stops no other."""
    for part, look in _LOOKS.items():
        try:
            yield from look()
        except ImportError as error:
            yield Finding(part, f"does not load: {one_line(str(error))}", State.BAD, _REINSTALL)
        except Exception as error:
            text = f"cannot be looked at: {one_line(str(error))}"
            yield Finding(part, text, State.HINT, "tell us what this line says")


def _system() -> Iterator[Finding]:
    text = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
    if sys.platform == "linux":
        yield Finding("system", text)
    else:
        yield Finding("system", text, State.HINT, "only Linux was tried; tell us what differs")


def _processor() -> Iterator[Finding]:
    there = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else there
    busy = os.getloadavg()[0]
    text = f"{cores} of {there} cores, {busy:.1f} of them busy in the last minute"
    quota = _quota()
    if quota is not None and quota < cores:
        mend = f"this container may use {quota:g} cores: num_threads={max(1, int(quota))}"
        yield Finding("processor", f"{text}, limited to {quota:g}", State.HINT, mend)
    elif busy > max(1, cores / 2):
        mend = "others compute here too: wait for them, or expect longer times than README's"
        yield Finding("processor", text, State.HINT, mend)
    else:
        yield Finding("processor", text)


def _quota() -> float | None:
    """Cores that the control group allows, None where it does not say."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such control group, or its quota reads "max"
        return None


def _memory() -> Iterator[Finding]:
    free = available_memory()
    if free is None:
        return
    enough = free > 2 * _REPLAY
    mend = "" if enough else "a full replay buffer takes 1.4 GB: replay.size=30000"
    yield Finding("memory", f"{free / GIB:.1f} GB free", _ok(enough), mend)


def _disk() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    text = f"{free / GIB:.1f} GB free in {here}"
    if not os.access(here, os.W_OK):
        mend = "go to a folder of yours, or name one for runs: hydra.run.dir=FOLDER"
        yield Finding("disk", f"{text}, where you may not write", State.HINT, mend)
    elif free < _RUN:
        mend = "a run takes 200 MB: free some, or hydra.run.dir=ELSEWHERE"
        yield Finding("disk", text, State.BAD, mend)
    elif free < 5 * _REPLAY:
        mend = "a stopped run keeps its replay buffer, up to 1.4 GB: snapshot_replay=false"
        yield Finding("disk", text, State.HINT, mend)
    else:
        yield Finding("disk", text)


def _shared_memory() -> Iterator[Finding]:
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        enough = free > _SHARED
        mend = "" if enough else "workers of data loaders need more: docker run --shm-size=1g"
        yield Finding("shared memory", f"{free / GIB:.1f} GB free in {shared}", _ok(enough), mend)


def _device() -> Iterator[Finding]:
    import torch

    from robobase import compute

    device = compute.pick_device(1)
    text = f"{compute.describe(device, torch.get_num_threads())}, torch {torch.__version__}"
    if device.type == "cpu" and Path("/dev/nvidia0").exists():
        mend = "there is an NVIDIA GPU that torch cannot use: install a CUDA build of torch"
        yield Finding("device", text, State.HINT, mend)
    else:
        yield Finding("device", text)


def _pictures() -> Iterator[Finding]:
    try:
        import mujoco  # noqa: F401
    except RuntimeError as error:  # a backend that it does not know
        yield Finding("OpenGL", str(error), State.BAD, "unset MUJOCO_GL, or set it to egl")
        return
    from so101_robobase.sim.gl_context import GLUnavailableError
    from so101_robobase.sim.renderer import make_renderer
    from so101_robobase.sim.scene import build_scene

    scene = build_scene()
    try:
        renderer = make_renderer("gl", scene, _SIZE, _SIZE)
    except GLUnavailableError as error:
        reason, _, remedy = str(error).partition("; ")
        yield Finding("OpenGL", reason, State.HINT, remedy)
    else:
        yield Finding("OpenGL", f"{_frames_per_second(renderer):,.0f} pictures a second")
    rays = make_renderer("ray", scene, _SIZE, _SIZE)
    yield Finding("rays, in place of it", f"{_frames_per_second(rays):,.0f} pictures a second")


def _frames_per_second(renderer: "Renderer") -> float:
    """Of class ids and depth, with the arm above the cube."""
    import numpy as np

    qpos = np.tile([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0], (_BATCH, 1))
    try:
        renderer.render(qpos)
        start, frames = time.perf_counter(), 0
        while time.perf_counter() - start < _SECONDS:
            renderer.render(qpos)
            frames += _BATCH
        return frames / (time.perf_counter() - start)
    finally:
        renderer.close()


def _packages() -> Iterator[Finding]:
    from so101_robobase.base.extras import install
    from so101_robobase.tools.packages import clashes, extras, ours

    found = list(clashes())
    for text, mend in found:
        yield Finding("packages", text, State.BAD, mend or _REINSTALL)
    if not found:
        yield Finding("packages", f"{len(ours())} that belong together")
    there, missing = extras()
    text = f"{', '.join(there) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    yield Finding("extras", text, mend=install(missing[0]) if missing else "")


def _robot() -> Iterator[Finding]:
    ports = [port for kind in ("ttyACM*", "ttyUSB*") for port in sorted(Path("/dev").glob(kind))]
    for port in ports:
        yield _usable("arm", port, f"so101_robobase robot check --port {port} looks closer")
    if not ports:
        yield Finding("arm", "no serial port; plug its USB cable in to use one")
    cameras = sorted(Path("/dev").glob("video*"))
    for camera in cameras:
        yield _usable("camera", camera)
    if not cameras:
        yield Finding("camera", "none")


def _usable(part: str, path: Path, hint: str = "") -> Finding:
    if os.access(path, os.R_OK | os.W_OK):
        return Finding(part, f"{path}; {hint}" if hint else str(path))
    mend = f"sudo usermod -aG {path.group()} $USER, then log in again"
    return Finding(part, f"{path}, which you may not use", State.HINT, mend)


def _ok(good: bool) -> State:
    return State.OK if good else State.HINT


_LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "system": _system,
    "processor": _processor,
    "memory": _memory,
    "disk": _disk,
    "shared memory": _shared_memory,
    "device": _device,
    "pictures": _pictures,
    "packages": _packages,
    "arm and camera": _robot,
}
