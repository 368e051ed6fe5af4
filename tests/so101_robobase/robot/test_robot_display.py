"""The display, written to files that Rerun reads back."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError

pytest.importorskip("rerun")

import rerun
from policy_ticks import FRAME_SIZE, make_ticks

from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.recording.display import RerunDisplay


def show(target, ticks, **options):
    display = RerunDisplay(target, **options)
    display.begin(0)
    for tick in ticks:
        display.tick(tick)
    display.end(True, True)
    display.close()
    return display


def read(path):
    """Column by name: values of the steps that have one."""
    assert path.stat().st_size > 20_000
    if not hasattr(rerun, "dataframe"):
        pytest.skip(f"Rerun {rerun.__version__} reads its files through a server only")
    recording = rerun.dataframe.load_recording(path)
    table = recording.view(index="step", contents="/**").select().read_all()
    return {
        name: [value.as_py() for value in table[name] if value.is_valid]
        for name in table.column_names
    }


def test_file_holds_what_was_shown(tmp_path):
    ticks = make_ticks(5, camera=True)
    assert show(tmp_path / "new" / "rollout.rrd", ticks).failure is None
    columns = read(tmp_path / "new" / "rollout.rrd")

    def scalars(path):
        return np.array(columns[f"/{path}:Scalars:scalars"])[:, 0]

    for index, joint in enumerate(JOINTS):
        sent = np.rad2deg([tick.joint_target[index] for tick in ticks])
        measured = np.rad2deg([tick.joint_pos[index] for tick in ticks])
        np.testing.assert_allclose(scalars(f"joints/{joint}/sent"), sent)
        np.testing.assert_allclose(scalars(f"joints/{joint}/measured"), measured)
    np.testing.assert_allclose(scalars("critic/value"), [tick.value for tick in ticks])
    np.testing.assert_allclose(scalars("timing/latency"), [1e3 * tick.latency for tick in ticks])
    np.testing.assert_allclose(
        scalars("timing/frame_age"), [1e3 * tick.frame_age for tick in ticks]
    )
    np.testing.assert_allclose(scalars("action/2"), [tick.action[2] for tick in ticks])
    ids = np.array(columns["/seen/picture:SegmentationImage:buffer"], np.uint8).reshape(5, 84, 84)
    disparity = np.array(columns["/seen/disparity:Image:buffer"], np.uint8).reshape(5, 84, 84)
    np.testing.assert_array_equal(np.stack([ids, disparity], 1), [tick.picture for tick in ticks])
    import cv2

    jpeg = np.array(columns["/camera:EncodedImage:blob"][0], np.uint8).reshape(-1)
    frame = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert frame.shape == (*FRAME_SIZE, 3)
    assert np.abs(frame.astype(float) - ticks[0].frame).mean() < 6
    assert [text[0] for text in columns["/log:TextLog:text"]][-1] == "episode over: success"


def test_colours_and_agents_without_a_critic(tmp_path):
    ticks = make_ticks(2, channels=3, value=False)
    show(tmp_path / "a.rrd", ticks)
    columns = read(tmp_path / "a.rrd")
    picture = np.array(columns["/seen/picture:Image:buffer"][1], np.uint8).reshape(84, 84, 3)
    np.testing.assert_array_equal(np.moveaxis(picture, -1, 0), ticks[1].picture)
    assert not [name for name in columns if "critic" in name or "camera" in name]


def test_steps_are_dropped_rather_than_waited_for(tmp_path):
    said = []
    display = RerunDisplay(tmp_path / "a.rrd", most_waiting=3, say=said.append)
    busy, free = threading.Event(), threading.Event()
    display._jobs.put(lambda: (busy.set(), free.wait()))
    busy.wait()
    for tick in make_ticks(5):
        display.tick(tick)
    free.set()
    display.close()
    assert display.dropped == 2
    assert said == ["display: too slow for 2 of 5 steps"]


def test_a_failure_is_said_once_and_disturbs_nobody(tmp_path):
    said = []
    tick = make_ticks(1)[0]
    broken = replace(tick, joint_pos=np.zeros(5))
    display = show(tmp_path / "a.rrd", [broken, tick, tick], say=said.append)
    assert display.failure is not None
    assert len(said) == 1
    assert said[0].startswith("display: stopped (")


def test_unfit_targets_are_refused(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UserError, match="no screen here"):
        RerunDisplay()
    with pytest.raises(UserError, match=r"ends in \.rrd"):
        RerunDisplay(tmp_path / "rollout.mp4")
    Path(tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        RerunDisplay(tmp_path / "file" / "a.rrd")
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(UserError, match="pip install rerun-sdk"):
        RerunDisplay(tmp_path / "a.rrd")
