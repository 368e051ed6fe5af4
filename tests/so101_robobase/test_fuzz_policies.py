"""Hundreds of damaged and hostile files: a result or one line each, in bounded time and memory."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_snapshot import save_tiny_snapshot

HERE = Path(__file__).parent
POLICIES = HERE.parents[1] / "policies"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_snapshot(tmp_path_factory.mktemp("tiny"), "pixels=false")


def outcomes(what, seed, count, folder, file):
    """name -> outcome of every file that a process of its own opened."""
    command = [sys.executable, HERE / "fuzz_policies.py", what, str(seed), str(count), folder, file]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=60 + 60 * count, check=False
    )
    last = done.stdout.strip().splitlines()[-1:]
    assert done.returncode == 0, f"ended at {last}: {done.stderr[-2000:]}"
    pairs = [line.partition(" ") for line in done.stdout.splitlines() if " " in line]
    return {name: outcome for name, _, outcome in pairs if name.startswith(what)}


def check(found, count):
    assert len(found) == count
    bad = {name: what for name, what in found.items() if what not in ("ok", "refused")}
    assert not bad, f"{len(bad)} of {count}: {bad}"


def test_a_few_changed_configs_are_refused_or_work(tiny, tmp_path):
    check(outcomes("config", 0, 8, tmp_path, tiny), 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole_task_snapshot.pt", "robust_snapshot.pt"])
def test_a_hundred_changed_snapshots_are_refused_or_work(tmp_path, name):
    found = outcomes("bytes", 1, 100, tmp_path, POLICIES / name)
    check(found, 100)
    assert list(found.values()).count("refused") > 80


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pickle", "config", "state"])
def test_hundreds_of_changed_contents_are_refused_or_work(tiny, tmp_path, what):
    check(outcomes(what, 2, 300, tmp_path, tiny), 300)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["segmentation", "segmentation_bytes"])
def test_changed_segmentation_networks_are_refused_or_work(tmp_path, what):
    pytest.importorskip("segmentation_models_pytorch")
    pytest.importorskip("timm")
    check(outcomes(what, 3, 60, tmp_path, POLICIES / "segmentation.pt"), 60)
