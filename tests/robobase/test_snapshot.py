"""Snapshot files: atomic, verified on reading, kept by rule."""

import os
import resource
import signal

import pytest
import torch

from robobase import snapshot
from robobase.errors import UserError
from robobase.snapshot import SnapshotKeeper, read, success_then_reward, write

PAYLOAD = {"weights": torch.arange(50_000), "score": (0.5, -1.0), "rng": 2**120 + 1, "none": None}


def test_what_was_written_is_read_and_plain_torch_load_takes_it(tmp_path):
    write(tmp_path / "1_snapshot.pt", PAYLOAD)
    for loaded in (
        read(tmp_path / "1_snapshot.pt"),
        torch.load(tmp_path / "1_snapshot.pt", weights_only=True),
    ):
        assert torch.equal(loaded["weights"], PAYLOAD["weights"])
        assert loaded["rng"] == PAYLOAD["rng"]


def damaged(tmp_path, change) -> str:
    """Message of reading a snapshot whose bytes were changed, with a good one beside it."""
    write(tmp_path / "1_snapshot.pt", PAYLOAD)
    write(tmp_path / "2_snapshot.pt", PAYLOAD)
    path = tmp_path / "2_snapshot.pt"
    path.write_bytes(change(bytearray(path.read_bytes())))
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize("left", [0, 1, 1000, -1, -30])
def test_a_truncated_file_is_named_and_the_good_one_offered(tmp_path, left):
    message = damaged(tmp_path, lambda data: data[:left])
    assert "2_snapshot.pt is damaged" in message
    assert f"use {tmp_path}/1_snapshot.pt" in message
    assert "\n" not in message


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found(tmp_path, position):
    def flip(data):
        data[int(position * len(data))] ^= 1
        return data

    assert "checksum" in damaged(tmp_path, flip)


def test_a_missing_file_offers_the_newest_good_one(tmp_path):
    with pytest.raises(UserError, match=r"does not exist; there is no other"):
        read(tmp_path / "3_snapshot.pt")
    write(tmp_path / "1_snapshot.pt", PAYLOAD)
    with pytest.raises(UserError, match=r"does not exist; use .*1_snapshot.pt"):
        read(tmp_path / "3_snapshot.pt")


def test_a_text_file_is_no_snapshot(tmp_path):
    (tmp_path / "a_snapshot.pt").write_text("not a snapshot")
    with pytest.raises(UserError, match=r"truncated or not of torch.save"):
        read(tmp_path / "a_snapshot.pt")


@pytest.fixture
def full_disk():
    """Files of this process may not grow beyond 100 kB, so that writing fails half-way."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    path = tmp_path / "1_snapshot.pt"
    write(path, {"old": 1})
    full_disk()
    with pytest.raises(UserError, match="cannot write snapshot") as caught:
        write(path, PAYLOAD)
    assert "\n" not in str(caught.value)
    assert read(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["1_snapshot.pt"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write snapshot"):
        write(tmp_path / "file" / "1_snapshot.pt", PAYLOAD)


def steps_in(folder) -> set[str]:
    return {p.name.removesuffix(snapshot.SUFFIX) for p in folder.iterdir()}


def test_retention_keeps_the_last_the_best_and_every_nth(tmp_path):
    keeper = SnapshotKeeper(tmp_path, keep_last=2, keep_every=100)
    for step in range(30, 300, 30):
        keeper.save({"step": step}, step, best=step == 60)
    assert steps_in(tmp_path) == {"120", "210", "240", "270", "latest", "best"}
    assert read(keeper.latest) == {"step": 270}
    assert read(keeper.best) == {"step": 60}


def test_a_run_continued_from_before_its_newest_snapshot_keeps_what_it_writes(tmp_path):
    for step in (100, 200, 300):
        SnapshotKeeper(tmp_path, keep_last=2).save({"step": step}, step)
    assert SnapshotKeeper(tmp_path, keep_last=2).save({"step": 150}, 150).exists()
    assert steps_in(tmp_path) == {"150", "200", "300", "latest"}


def test_latest_never_knows_of_a_best_that_was_not_written(tmp_path, monkeypatch):
    named = []
    monkeypatch.setattr(snapshot, "_point", lambda name, target: named.append(name.name))
    SnapshotKeeper(tmp_path).save(PAYLOAD, 1, best=True)
    assert named == ["best_snapshot.pt", "latest_snapshot.pt"]


@pytest.mark.parametrize(("stored", "is_ours"), [((0.5,), True), ((0.7,), False), (None, False)])
def test_the_best_goes_along_into_another_folder_if_it_is_the_one_meant(tmp_path, stored, is_ours):
    if stored is not None:
        write(tmp_path / "old" / "best_snapshot.pt", {"best_score": stored, "weights": 1})
    keeper = SnapshotKeeper(tmp_path / "new")
    keeper.best_score = (0.5,)
    keeper.carry_over_best(tmp_path / "old")
    assert keeper.best.exists() == is_ours
    assert keeper.best_score == ((0.5,) if is_ours else None)


def test_the_best_stays_where_the_folder_is_the_same(tmp_path):
    keeper = SnapshotKeeper(tmp_path)
    keeper.best_score = (0.5,)
    keeper.carry_over_best(tmp_path)
    assert keeper.best_score == (0.5,)


def test_snapshots_survive_where_hard_links_are_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    keeper = SnapshotKeeper(tmp_path, keep_last=1)
    keeper.save({"step": 1}, 1, best=True)
    keeper.save({"step": 2}, 2)
    assert (read(keeper.latest), read(keeper.best)) == ({"step": 2}, {"step": 1})
    assert steps_in(tmp_path) == {"2", "latest", "best"}


def test_success_ranks_before_reward():
    worse = success_then_reward({"episode_success": 0.5, "episode_reward": 100.0})
    better = success_then_reward({"episode_success": 0.6, "episode_reward": 1.0})
    assert better > worse
    assert success_then_reward({"episode_reward": 2.0}) > success_then_reward(
        {"episode_reward": 1.0}
    )


def test_only_a_better_evaluation_is_the_best(tmp_path):
    keeper = SnapshotKeeper(tmp_path)
    rewards = [1.0, 1.0, 2.0, 1.5]
    assert [keeper.is_best({"episode_reward": r}) for r in rewards] == [True, False, True, False]
