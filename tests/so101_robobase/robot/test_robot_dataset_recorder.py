"""Recording to LeRobotDatasets, with LeRobot itself reading them back."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError

pytest.importorskip("lerobot.datasets.lerobot_dataset")

from lerobot.datasets.lerobot_dataset import LeRobotDataset
from policy_ticks import FRAME_SIZE, make_ticks

from so101_robobase.robot.recording.dataset_recorder import (
    DatasetRecorder,
    ids_from_colors,
    policy_picture,
)
from so101_robobase.vision.kinds import KINDS


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    """What Hugging Face caches while it loads stays out of the home folder."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    yield
    datasets.config.HF_DATASETS_CACHE = before


def record(root, episodes, said=None, **options):
    """Record `episodes`: (ticks, success, keep) each."""
    camera = any(tick.frame is not None for ticks, _, _ in episodes for tick in ticks)
    options.setdefault("frame", FRAME_SIZE if camera else None)
    said = [] if said is None else said
    recorder = DatasetRecorder(
        root, KINDS["seg_depth"], 84, 6, say=said.append, **{"fps": 25, **options}
    )
    for number, (ticks, success, keep) in enumerate(episodes):
        play(recorder, number, ticks)
        recorder.end(success, keep)
    recorder.close()
    return recorder


def play(recorder, number, ticks):
    recorder.begin(number)
    for tick in ticks:
        recorder.tick(tick)


def load(root):
    return LeRobotDataset("local/test", root=root, video_backend="pyav")


def check_equal(item, tick):
    for key, value in (
        ("observation.state", tick.measured),
        ("action", tick.sent),
        ("model.joint_pos", tick.joint_pos),
        ("model.joint_target", tick.joint_target),
        ("policy.action", tick.action),
        ("policy.value", np.nan if tick.value is None else tick.value),
        ("timing", [tick.time, tick.frame_age, tick.latency]),
    ):
        np.testing.assert_array_equal(item[key].numpy(), np.asarray(value, np.float32), key)
    np.testing.assert_array_equal(policy_picture(item), tick.picture)


def test_values_come_back_as_they_were(tmp_path):
    said = []
    first, second, third = (make_ticks(count, seed=count) for count in (3, 5, 4))
    third = make_ticks(4, seed=4, value=False)
    record(
        tmp_path / "set", [(first, True, True), (second, True, False), (third, None, True)], said
    )
    dataset = load(tmp_path / "set")
    assert (dataset.num_episodes, len(dataset)) == (2, 7)
    items = [dataset[index] for index in range(7)]
    for item, tick in zip(items, first + third, strict=True):
        check_equal(item, tick)
    assert [bool(item["next.done"]) for item in items] == [False, False, True] + 3 * [False] + [
        True
    ]
    assert [bool(item["next.success"]) for item in items] == [False, False, True] + 4 * [False]
    assert [bool(item["next.judged"]) for item in items] == [False, False, True] + 4 * [False]
    assert [int(item["episode_index"]) for item in items] == [0] * 3 + [1] * 4
    assert dataset.features["action"]["names"][0] == "shoulder_pan.pos"
    assert dataset.fps == 25
    assert "recorded 2 episodes" in said[-1]
    assert os.listdir(tmp_path) == ["set"]  # nothing is left beside it


def test_camera_frames_are_a_video_in_rgb(tmp_path):
    ticks = make_ticks(4, camera=True)
    record(tmp_path / "set", [(ticks, False, True), (ticks, True, True)])
    dataset = load(tmp_path / "set")
    for index in (0, 7):
        seen = 255 * np.moveaxis(dataset[index]["observation.images.wrist"].numpy(), 0, -1)
        assert np.abs(seen - ticks[0].frame[..., ::-1]).mean() < 6  # compressed, not lossless
    assert not dataset[3]["next.success"]
    assert dataset[7]["next.success"]


def test_pictures_of_other_policies(tmp_path):
    for kind in ("seg", "rgb"):
        ticks = make_ticks(2, channels=KINDS[kind].channels)
        recorder = DatasetRecorder(tmp_path / kind, KINDS[kind], 84, 6, fps=25, say=str)
        play(recorder, 0, ticks)
        recorder.end(True, True)
        recorder.close()
        np.testing.assert_array_equal(policy_picture(load(tmp_path / kind)[1]), ticks[1].picture)


def test_ids_of_other_colors_are_refused():
    with pytest.raises(ValueError, match="no class"):
        ids_from_colors(np.array([[[1, 2, 3]]], np.uint8))


def test_continues_a_dataset(tmp_path):
    first, second, third = (make_ticks(count, seed=count) for count in (3, 4, 2))
    record(tmp_path / "set", [(first, True, True)])
    record(tmp_path / "set", [(second, False, True), (third, True, True)])
    dataset = load(tmp_path / "set")
    assert [int(episode["length"]) for episode in dataset.meta.episodes] == [3, 4, 2]
    for index, tick in enumerate(first + second + third):
        item = dataset[index]
        check_equal(item, tick)
        assert int(item["index"]) == index


def test_a_kill_at_any_moment_leaves_whole_episodes(tmp_path, monkeypatch):
    root, copies = tmp_path / "set", tmp_path / "copies"
    ticks = [make_ticks(3, seed=1, camera=True), make_ticks(4, seed=2, camera=True)]
    record(root, [(ticks[0], True, True)])
    move = os.replace

    def after_a_copy(source, goal):
        copy = copies / str(len(list(copies.glob("*"))))
        shutil.copytree(root, copy)  # what a kill would leave
        move(source, goal)

    copies.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", after_a_copy)
        record(root, [(ticks[1], True, True)])
    moments = sorted(copies.iterdir(), key=lambda path: int(path.name))
    assert len(moments) >= 6
    for moment in moments:
        killed = load(moment)
        assert (killed.num_episodes, len(killed)) == (1, 3), moment
        check_equal(killed[2], ticks[0][2])
    # The last moment is the worst: all is there but what counts it. Recording goes on from it.
    for moment in (moments[0], moments[-1]):
        record(moment, [(ticks[1], True, True)])
        mended = load(moment)
        assert (mended.num_episodes, len(mended), mended.meta.total_frames) == (2, 7, 7)
        for index, tick in enumerate(ticks[0] + ticks[1]):
            check_equal(mended[index], tick)


@pytest.mark.slow
def test_killed_in_an_episode(tmp_path):
    script = """
import os, signal, sys, time
from pathlib import Path
from policy_ticks import make_ticks
from so101_robobase.robot.recording.dataset_recorder import DatasetRecorder
from so101_robobase.vision.kinds import KINDS
recorder = DatasetRecorder(Path(sys.argv[1]), KINDS["seg_depth"], 84, 6, (48, 64), fps=25, say=str)
for episode in range(2):
    recorder.begin(episode)
    for tick in make_ticks(5, camera=True):
        recorder.tick(tick)
    if episode == 0:
        recorder.end(True, True)
while recorder._jobs.qsize():
    time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    root = tmp_path / "set"
    done = subprocess.run([sys.executable, "-c", script, str(root)], env=environment, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert (load(root).num_episodes, len(load(root))) == (1, 5)
    record(root, [(make_ticks(2, camera=True), True, True)])
    assert len(load(root)) == 7
    assert os.listdir(tmp_path) == ["set"]


def test_full_disk_keeps_what_was_there(tmp_path):
    root, said = tmp_path / "set", []
    ticks = make_ticks(3)
    record(root, [(ticks, True, True)])
    recorder = DatasetRecorder(root, KINDS["seg_depth"], 84, 6, fps=25, say=said.append)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ended = threading.Event()
    # Files that may not grow fail as on a full disk: OSError from whoever writes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        play(recorder, 0, ticks)
        recorder.end(True, True)
        recorder._jobs.put(ended.set)  # not run after a failure: then it is `failure` that tells
        for _ in range(600):
            if recorder.failure is not None or ended.wait(0.1):
                break
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(UserError, match=r"failed .*; the 1 episodes before are safe"):
        recorder.begin(1)
    recorder.tick(ticks[0])
    recorder.end(True, True)
    recorder.close()
    assert len(said) == 1
    assert "\n" not in said[0]
    assert len(load(root)) == 3
    assert os.listdir(tmp_path) == ["set"]


def test_full_disk_is_called_so(tmp_path, monkeypatch):
    root, said = tmp_path / "set", []
    recorder = DatasetRecorder(root, KINDS["seg_depth"], 84, 6, fps=25, say=said.append)
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    play(recorder, 0, make_ticks(2))
    recorder.end(True, True)
    recorder.close()
    assert said == [
        f"recording to {root} failed (the disk is full); the 1 episodes before are safe"
    ]
    assert len(load(root)) == 2
    assert os.listdir(tmp_path) == ["set"]
    with pytest.raises(UserError, match="the disk is full"):
        DatasetRecorder(root, KINDS["seg_depth"], 84, 6, fps=25)


def test_dropped_steps_are_counted_and_told(tmp_path):
    said = []
    options = {"fps": 25, "most_waiting": 2, "say": said.append}
    recorder = DatasetRecorder(tmp_path / "set", KINDS["seg_depth"], 84, 6, **options)
    busy, free = threading.Event(), threading.Event()
    recorder._jobs.put(lambda: (busy.set(), free.wait()))
    busy.wait()
    play(recorder, 0, make_ticks(5))  # `begin` and one step wait, four steps find no room
    recorder.end(True, True)
    free.set()
    play(recorder, 1, [])
    recorder.close()
    assert recorder.dropped == 4
    assert recorder.failure is None
    assert "too slow for 4 steps" in said[0]
    assert "too short" in said[1]
    assert not (tmp_path / "set").exists()  # there is no dataset without episodes


def test_unfit_folders_are_refused(tmp_path):
    record(tmp_path / "set", [(make_ticks(2), True, True)])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("buy milk")
    (tmp_path / "file").write_text("")
    for folder, options, message in (
        ("notes", {}, "not a LeRobotDataset"),
        ("file", {}, "not a LeRobotDataset"),
        ("set", {"fps": 50}, "fps 25, not 50"),
        ("set", {"robot_type": "so101_mujoco"}, "robot_type so101_follower, not so101_mujoco"),
        ("set", {"frame": FRAME_SIZE}, "lacks the feature observation.images.wrist"),
        ("set", {"num_actions": 4}, r"policy.action with shape \[6\], not \[4\]"),
        ("set", {"kind": KINDS["seg"]}, "has the feature observation.images.disparity"),
    ):
        arguments = {
            "kind": KINDS["seg_depth"],
            "size": 84,
            "num_actions": 6,
            "frame": None,
            "fps": 25,
        }
        arguments |= options
        with pytest.raises(UserError, match=message) as caught:
            DatasetRecorder(tmp_path / folder, **arguments)
        assert "\n" not in str(caught.value)
    assert len(load(tmp_path / "set")) == 2


@pytest.fixture
def recorded(tmp_path):
    """A dataset of two episodes."""
    record(tmp_path / "set", [(make_ticks(2), True, True)] * 2)
    return tmp_path / "set"


def describe(root, **changes):
    """Change what the dataset says about itself."""
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "changes",
    [
        {"data_path": "notes.txt"},
        {"data_path": "../../notes.txt"},
        {"data_path": "/tmp/{chunk_index}{file_index}"},
        {"data_path": None},
        {"video_path": "videos/../../{video_key}.mp4"},
        {"chunks_size": 0},
        {"chunks_size": -1},
        {"total_episodes": 10**12},
        {"total_episodes": "2"},
        {"total_episodes": 3},
        {"total_frames": -1},
        {"features": [1]},
        {"features": {"action": 1}},
        {"fps": "25"},
        {"codebase_version": ["v3.0"]},
        {"data_files_size_in_mb": 1e300},
    ],
    ids=str,
)
def test_a_dataset_that_puts_files_elsewhere_or_lies_is_refused(recorded, tmp_path, changes):
    (tmp_path / "notes.txt").write_text("kept")
    (recorded / "notes.txt").write_text("kept")
    describe(recorded, **changes)
    before = everything(tmp_path)
    with pytest.raises(UserError) as caught:
        DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, fps=25, say=str)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "part", ["data", "meta/episodes", "meta/info.json", "meta/tasks.parquet", "meta/stats.json"]
)
def test_links_out_of_a_dataset_are_not_followed(recorded, tmp_path, part):
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.move(recorded / part, outside / "part")
    (recorded / part).symlink_to(outside / "part")
    before = everything(outside)
    with pytest.raises(UserError, match="link out of"):
        DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, fps=25, say=str)
    assert everything(outside) == before


def test_files_of_earlier_episodes_are_never_written_over(recorded):
    """The newest episode says that it lies in the first file, so that the second is next."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = sorted((recorded / "meta/episodes").glob("*/*.parquet"))[-1]
    table = pq.read_table(path)
    column = table.schema.get_field_index("data/file_index")
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array([0])), path)
    # Episode 0 now is in file 1 for all that its own metadata says.
    first = sorted((recorded / "meta/episodes").glob("*/*.parquet"))[0]
    table = pq.read_table(first)
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array([1])), first)
    data = everything(recorded / "data")
    said = []
    recorder = DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, fps=25, say=said.append)
    play(recorder, 0, make_ticks(2))
    recorder.end(True, True)
    recorder.close()
    assert everything(recorded / "data") == data
    assert any("belongs to an earlier episode" in line for line in said)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_damaged_metadata_is_refused_in_one_line(recorded, content):
    newest = max((recorded / "meta/episodes").glob("*/*.parquet"))
    for path in (newest, recorded / "meta/tasks.parquet", recorded / "meta/stats.json"):
        sound = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(UserError):
            DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, fps=25, say=str)
        path.write_bytes(sound)


def test_the_second_recorder_of_a_dataset_is_refused_and_loses_nothing(recorded):
    first = DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, fps=25, say=str)
    for frame in (None, FRAME_SIZE):
        with pytest.raises(UserError, match=r"is in use.*record into another folder"):
            DatasetRecorder(recorded, KINDS["seg_depth"], 84, 6, frame=frame, fps=25, say=str)
    play(first, 0, make_ticks(3))
    first.end(True, True)
    first.close()
    assert (load(recorded).num_episodes, len(load(recorded))) == (3, 7)
    record(recorded, [(make_ticks(2), True, True)])  # free again
    assert load(recorded).num_episodes == 4


def test_the_second_recorder_of_a_new_dataset_is_refused(tmp_path):
    first = DatasetRecorder(tmp_path / "set", KINDS["seg_depth"], 84, 6, fps=25, say=str)
    with pytest.raises(UserError, match="is in use"):
        DatasetRecorder(tmp_path / "set", KINDS["seg_depth"], 84, 6, fps=25, say=str)
    play(first, 0, make_ticks(3))
    first.end(True, True)
    first.close()
    assert load(tmp_path / "set").num_episodes == 1
    assert os.listdir(tmp_path) == ["set"]
