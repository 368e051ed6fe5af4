"""Kinds of observation: one description, and another kind is another row."""

import numpy as np
import pytest

from so101_robobase.envs.observer import Observer
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.vision import pictures
from so101_robobase.vision.kinds import KINDS, ObservationKind, Source, kinds_with


def test_what_the_kinds_hold():
    assert {name: kind.channels for name, kind in KINDS.items()} == {
        "seg_depth": 2,
        "seg": 1,
        "rgb": 3,
        "state": 0,
    }
    assert KINDS["seg_depth"].channel_kinds == ("ids", "value")
    assert KINDS["rgb"].channel_kinds is None
    assert kinds_with(Source.IDS) == ("seg_depth", "seg")
    assert kinds_with() == tuple(KINDS)


@pytest.mark.opengl
def test_a_new_kind_is_one_row(monkeypatch):
    """Observed in the simulator, shown to people and told to encoders, from its sources alone."""
    new = ObservationKind("rgb_depth_seg", (Source.COLORS, Source.DISPARITY, Source.IDS))
    monkeypatch.setitem(KINDS, new.name, new)
    assert new.channel_kinds == ("value", "value", "value", "value", "ids")
    task = LiftTask(LiftConfig(), 2)
    task.seed([0, 1])
    task.reset(np.arange(2))
    observer = Observer(task.sim, new.name, 84, "auto")
    seen = observer.observe()
    assert {key: value[0] for key, value in seen.items()} in observer.space
    for kind, channels in (("rgb", [0, 1, 2]), ("seg_depth", [4, 3])):
        other = Observer(task.sim, kind, 84, "auto")
        np.testing.assert_array_equal(other.observe()["rgb"], seen["rgb"][:, channels])
        other.close()
    observer.close()
    assert len(pictures.observation_panels(seen["rgb"][0], new.name, 128)) == 3
