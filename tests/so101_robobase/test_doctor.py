"""The look at a machine: what is amiss is told with what mends it, and nothing stops it."""

import importlib.metadata
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from so101_robobase.base import cli
from so101_robobase.sim import renderer
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.tools import doctor, packages
from so101_robobase.tools.doctor import State

GIB = 2**30


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "_SECONDS", 0)
    monkeypatch.setattr(doctor, "_BATCH", 1)


def findings(part: str) -> list[doctor.Finding]:
    return list(doctor._LOOKS[part]())


def sick(part: str) -> list[str]:
    """What mends the findings of a part that are not well; each has a mend."""
    found = [each for each in findings(part) if each.state is not State.OK]
    assert all(each.mend and "\n" not in each.mend for each in found)
    return [each.mend for each in found]


def test_every_part_of_this_machine_can_be_looked_at(quick):
    found = list(doctor.examine())
    assert {"system", "processor", "OpenGL", "packages", "arm", "camera"} <= {
        each.part for each in found
    }
    assert not [each for each in found if "cannot be looked at" in each.text]
    assert all(each.mend for each in found if each.state is not State.OK)


@pytest.mark.parametrize(
    ("part", "where", "name", "value", "mend"),
    [
        ("system", sys, "platform", "plan9", "only Linux"),
        ("processor", os, "getloadavg", lambda: (9.0, 0, 0), "others compute"),
        ("processor", doctor, "_quota", lambda: 0.5, "num_threads=1"),
        ("memory", doctor, "available_memory", lambda: GIB, "replay.size"),
        ("disk", os, "access", lambda *_: False, "hydra.run.dir"),
    ],
)
def test_what_is_amiss_has_a_mend(monkeypatch, part, where, name, value, mend):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0, 0))
    monkeypatch.setattr(doctor, "_quota", lambda: None)
    monkeypatch.setattr(where, name, value)
    (told,) = sick(part)
    assert mend in told


@pytest.mark.parametrize(
    ("part", "free", "state"),
    [
        ("disk", 0.1 * GIB, State.BAD),
        ("disk", GIB, State.HINT),
        ("disk", 100 * GIB, State.OK),
        ("shared memory", GIB // 32, State.HINT),
    ],
)
def test_little_room_is_told(monkeypatch, part, free, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    (found,) = findings(part)
    assert found.state is state
    assert bool(found.mend) is (state is not State.OK)


def test_missing_opengl_is_told_with_what_installs_it(monkeypatch, quick):
    def make(kind, *args):
        if kind == "gl":
            raise GLUnavailableError("it does not start; install it")
        return SimpleNamespace(render=lambda qpos: None, close=lambda: None)

    monkeypatch.setattr(renderer, "make_renderer", make)
    assert sick("pictures") == ["install it"]


def test_a_port_of_others_is_told_with_its_group(monkeypatch, tmp_path):
    port = tmp_path / "ttyACM0"
    port.touch()
    assert doctor._usable("arm", port, "hint").text == f"{port}; hint"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"usermod -aG {port.group()}" in doctor._usable("arm", port).mend


def fake_installed(monkeypatch, **packages: tuple[str, list[str]]) -> None:
    """Only these packages are installed: name=(version, what it requires)."""
    there = {name.replace("_", "-"): given for name, given in packages.items()}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name][0]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: there[name][1])


def test_versions_that_clash_are_named(monkeypatch):
    fake_installed(
        monkeypatch,
        so101_robobase=("0.1", ["torch>=2", "numpy>=2", 'torchvision>=1; extra == "perception"']),
        torch=("2.1+cpu", ["numpy<3", 'nothing>9; python_version < "3"']),
        numpy=("3.5", []),
        torchvision=("0.9", []),
    )
    assert [text for text, _ in packages.clashes()] == [
        "so101-robobase wants torchvision>=1, there is torchvision 0.9",
        "torch 2.1+cpu wants numpy<3, there is numpy 3.5",
        "torch 2.1+cpu and torchvision 0.9 are of different builds",
    ]
    assert len(sick("packages")) == 3


def test_what_is_missing_is_named_unless_an_extra_wants_it(monkeypatch):
    requires = ["torch>=2", 'lerobot>=1; extra == "robot"']
    fake_installed(monkeypatch, so101_robobase=("0.1", requires))
    assert [text for text, _ in packages.clashes()] == [
        "so101-robobase wants torch>=2, there is none"
    ]
    assert packages.extras()[0] == []
    assert len(sick("packages")) == 1


def test_two_packages_of_one_module_are_named(monkeypatch):
    both = {"opencv_python": ("4.1", []), "opencv_python_headless": ("4.1", [])}
    fake_installed(monkeypatch, so101_robobase=("0.1", []), **both)
    assert sick("packages") == ["pip uninstall opencv-python"]


def test_without_torch_opengl_and_mujoco_the_rest_is_told_and_the_code_is_1(monkeypatch, capsys):
    for name in ("torch", "mujoco", "lerobot"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    amiss = [line.split()[1] for line in lines if line.startswith("! ")]
    assert amiss == ["device", "pictures"]
    assert any("camera" in line for line in lines)
    assert lines[-1] == "lines with ! need mending"


def test_a_part_that_fails_stops_no_other(monkeypatch, capsys):
    def failing():
        raise RuntimeError("odd\nmachine")

    parts = {"one": failing, "two": lambda: iter([doctor.Finding("two", "fine")])}
    monkeypatch.setattr(doctor, "_LOOKS", parts)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "cannot be looked at: odd machine" in out
    assert "  two" in out
    assert out.endswith("could be better\n")


def test_a_backend_that_mujoco_does_not_know_is_told(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "mujoco"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    assert sick("pictures") == ["unset MUJOCO_GL, or set it to egl"]


def test_it_starts_without_what_it_looks_for():
    source = Path(doctor.__file__).read_text()
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in top if any(name in line for name in ("torch", "mujoco", "sim"))]
