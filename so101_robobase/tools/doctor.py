"""What this machine is for us: each part looked at, and what to do where something is amiss."""

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from packaging.requirements import InvalidRequirement, Requirement

from robobase import compute
from robobase.errors import one_line
from robobase.memory import GIB, available_memory
from so101_robobase.base.extras import install
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.renderer import Renderer, make_renderer
from so101_robobase.sim.scene import build_scene

_PROJECT = "so101-robobase"
_SIZE, _BATCH = 84, 16  # pixels, and pictures at once, as in training
_SECONDS = 0.5  # of rendering
_REPLAY = 1.4 * GIB  # bytes, of 100,000 policy steps of seg_depth
_RUN = 0.2 * GIB  # bytes of a run folder, without the replay buffer that a stopped run leaves
_SHARED = GIB // 16  # bytes; what Docker gives


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
    for look in _LOOKS:
        try:
            yield from look()
        except Exception as error:
            name = look.__name__.removeprefix("_").replace("_", " ")
            yield Finding(name, f"cannot be looked at: {one_line(str(error))}", State.HINT)


def _system() -> Iterator[Finding]:
    text = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
    if sys.platform == "linux":
        yield Finding("system", text)
    else:
        yield Finding("system", text, State.HINT, "only Linux was tried; tell us what differs")


def _processor() -> Iterator[Finding]:
    cores, there = compute.available_cores(), os.cpu_count() or 1
    text = f"{cores} of {there} cores, torch takes {torch.get_num_threads()} threads"
    quota = _quota()
    if quota is not None and quota < cores:
        mend = f"this container may use {quota:g} cores: num_threads={max(1, int(quota))}"
        yield Finding("processor", f"{text}, limited to {quota:g}", State.HINT, mend)
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
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / GIB:.1f} GB free in {Path.cwd()}"
    if free < _RUN:
        mend = "a run takes 200 MB: free some, or hydra.run.dir=ELSEWHERE"
        yield Finding("disk", text, State.BAD, mend)
    elif free < 5 * _REPLAY:
        mend = "a stopped run keeps its replay buffer, up to 1.4 GB: snapshot_replay=false"
        yield Finding("disk", text, State.HINT, mend)
    else:
        yield Finding("disk", text)
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        enough = size > _SHARED
        mend = "" if enough else "workers of data loaders need more: docker run --shm-size=1g"
        yield Finding("shared memory", f"{size / GIB:.1f} GB in {shared}", _ok(enough), mend)


def _accelerator() -> Iterator[Finding]:
    device = compute.pick_device(1)
    text = compute.describe(device, torch.get_num_threads())
    if device.type == "cpu" and Path("/dev/nvidia0").exists():
        mend = "there is an NVIDIA GPU that torch cannot use: install a CUDA build of torch"
        yield Finding("device", f"{text}, torch {torch.__version__}", State.HINT, mend)
    else:
        fast = "" if device.type != "cpu" or compute.has_fast_bfloat16(device) else ", no bfloat16"
        yield Finding("device", f"{text}, torch {torch.__version__}{fast}")


def _pictures() -> Iterator[Finding]:
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


def _frames_per_second(renderer: Renderer) -> float:
    """Of class ids and depth, with the arm above the cube."""
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
    found = list(clashes())
    for text in found:
        yield Finding("packages", text, State.BAD, "pip install -c constraints.txt -e . once more")
    if not found:
        yield Finding("packages", f"{len(_ours())} that belong together")
    twice = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
    if len(twice) > 1:
        mend = "both bring the module cv2: pip uninstall opencv-python"
        yield Finding("packages", " and ".join(twice), State.HINT, mend)
    for extra, package in (("perception", "torchvision"), ("robot", "lerobot")):
        version = _version(package)
        text = f"{package} {version}" if version else f"not installed; {install(extra)}"
        yield Finding(f"extra {extra}", text)


def clashes() -> Iterator[str]:
    """`A 1.0 wants B<2, there is B 2.1`, of what this project brings along."""
    for name in _ours():
        for requirement in _requirements(name):
            there = _version(requirement.name)
            if there is not None and not requirement.specifier.contains(there, prereleases=True):
                wanted = f"{requirement.name}{requirement.specifier}"
                who = name if name == _PROJECT else f"{name} {_version(name)}"
                yield f"{who} wants {wanted}, there is {requirement.name} {there}"


def _ours() -> set[str]:
    """Installed packages that this project, its extras included, leads to."""
    found: set[str] = set()
    waiting = [_PROJECT]
    while waiting:
        name = waiting.pop()
        if name not in found and _version(name):
            found.add(name)
            waiting += [requirement.name.lower() for requirement in _requirements(name)]
    return found


def _requirements(name: str) -> Iterator[Requirement]:
    """What a package asks for here; for this project with the extras that are installed."""
    extras = ("", "perception", "robot") if name == _PROJECT else ("",)
    for line in importlib.metadata.requires(name) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            yield requirement


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _robot() -> Iterator[Finding]:
    ports = sorted(str(port) for kind in ("ttyACM*", "ttyUSB*") for port in Path("/dev").glob(kind))
    if not ports:
        yield Finding("arm", "no serial port; plug its USB cable in to use one")
    for port in ports:
        if os.access(port, os.R_OK | os.W_OK):
            yield Finding("arm", f"{port}; so101_robobase robot check --port {port} looks closer")
        else:
            group = Path(port).group()
            mend = f"sudo usermod -aG {group} $USER, then log in again"
            yield Finding("arm", f"{port}, which you may not use", State.HINT, mend)
    cameras = sorted(str(camera) for camera in Path("/dev").glob("video*"))
    yield Finding("cameras", ", ".join(cameras) or "none")


def _ok(good: bool) -> State:
    return State.OK if good else State.HINT


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _system,
    _processor,
    _memory,
    _disk,
    _accelerator,
    _pictures,
    _packages,
    _robot,
)
