"""The seam beside the loop: what callbacks are told, and when."""

from tiny_task import tiny_config

from robobase.callbacks import Callback
from robobase.workspace import Workspace


class Notes(Callback):
    """Notes (event, env steps)."""

    def __init__(self):
        self.told = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda run, *_: self.told.append((name[3:], run.progress.env_steps))


def test_a_callback_is_told_what_happens_in_order(tmp_path):
    notes = Notes()
    settings = ["num_train_frames=16", "replay_size_before_train=0", "eval_every_steps=8"]
    settings += ["snapshot_every_n=12", "demos=1", "num_pretrain_steps=2", "log_pretrain_every=2"]
    Workspace(tiny_config(*settings), work_dir=tmp_path, callbacks=[notes]).train()
    told = [note for note in notes.told if note[0] != "snapshot"]
    pretraining = [("begin", 0), ("evaluation", 0), ("pretrain_step", 0), ("pretrain_step", 0)]
    assert told[:4] == pretraining
    assert told[4:6] == [("evaluation", 0), ("online_begin", 0)]
    assert told[6:] == [
        ("step", 4), ("evaluation", 8), ("step", 8), ("step", 12), ("evaluation", 16), ("step", 16),
        ("end", 16), ("shutdown", 16),
    ]  # fmt: skip
    assert {steps for event, steps in notes.told if event == "snapshot"} >= {0, 12, 16}
