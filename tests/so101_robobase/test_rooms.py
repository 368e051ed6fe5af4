"""Who may import whom: rooms in one order, imports downwards alone, no circle between files."""

import re

import architecture
import pytest
import rooms
from rooms import ROOMS, ROOT, arrows, circles, names_imported, read_imports, room, unknown, upward


@pytest.fixture(scope="module")
def house():
    return read_imports()


def tree(root, **files):
    """A made-up repository; `a__b="..."` is the file a/b.py of the plugin."""
    for name, text in files.items():
        file = root / rooms.PLUGIN / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return read_imports(root)


def test_every_folder_is_a_room_with_its_place_in_the_order(house):
    assert unknown(house) == []
    assert {room(module) for module in house} == {*ROOMS, None}


def test_imports_go_downwards_alone(house):
    assert upward(house) == []


def test_no_circle_between_files(house):
    assert circles(house) == []


def test_the_engine_does_not_know_the_plugin_and_neither_knows_benchmarks_or_tests():
    above = {
        "robobase": {rooms.PLUGIN, "benchmarks", "tests"},
        rooms.PLUGIN: {"benchmarks", "tests"},
    }
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for package, forbidden in above.items()
        for file in (ROOT / rooms.FOLDERS[package]).rglob("*.py")
        for name in names_imported(file)
        if name.split(".")[0] in forbidden
    ]
    assert found == []


def test_one_file_imports_mujocos_batch():
    files = [
        str(file.relative_to(ROOT))
        for file in (ROOT / rooms.PLUGIN).rglob("*.py")
        if any(name.startswith("mujoco.batch") for name in names_imported(file))
    ]
    assert files == ["so101_robobase/sim/engine.py"]


@pytest.mark.parametrize(
    "statement",
    [
        "from so101_robobase.sim import scene",
        "from so101_robobase.sim.scene import Scene",
        "import so101_robobase.sim.scene as scene",
        "from ..sim.scene import Scene",
        "from ..sim import scene",
        "def f():\n    from so101_robobase.sim.scene import Scene",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..sim.scene import Scene",
    ],
)
def test_an_import_from_above_is_found(tmp_path, statement):
    house = tree(tmp_path, arm__model=statement, sim__scene="")
    assert upward(house) == ["so101_robobase.arm.model -> so101_robobase.sim.scene"]


def test_imports_from_below_and_of_the_plugins_own_file_are_allowed(tmp_path):
    house = tree(
        tmp_path,
        __init__="from so101_robobase.sim import scene",
        sim__scene="from so101_robobase.arm.model import SO101",
        arm__model="from so101_robobase import __version__",
    )
    assert upward(house) == []


def test_a_circle_is_found_within_a_room_too(tmp_path):
    house = tree(
        tmp_path,
        sim__a="from .b import x",
        sim__b="from .c import x",
        sim__c="def f(): from . import a",
    )
    assert circles(house) == [[f"so101_robobase.sim.{name}" for name in "abc"]]


def test_a_new_folder_is_noticed(tmp_path):
    assert unknown(tree(tmp_path, attic__box="")) == ["so101_robobase.attic.box"]


def test_benchmarks_import_each_other_by_file_name(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "a.py").write_text("from _b import x")
    (tmp_path / "benchmarks" / "_b.py").write_text("")
    assert read_imports(tmp_path)["benchmarks.a"] == {"benchmarks._b"}


def test_the_pictures_arrows_are_those_of_the_code(house):
    assert architecture.drawn(architecture.PICTURE) == arrows(house), "run docs/architecture.py"


def test_a_picture_holds_the_arrows_it_was_drawn_from(tmp_path):
    some = {("robot", "arm"), ("arm", "base"), ("envs", "robobase")}
    architecture.draw(some, tmp_path / "some.svg")
    assert architecture.drawn(tmp_path / "some.svg") == some


def test_the_page_says_what_each_room_is_for_and_names_files_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name, purpose in ROOMS.items():
        assert f"| `{name}` | {purpose} |" in page
    roots = (ROOT, ROOT / rooms.PLUGIN)
    named = re.findall(r"`([\w/.]+/[\w.]*)`", page)
    assert len(named) > 40
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
