"""Claims about Weights & Biases, on the real package, without network and login."""

import sys

import numpy as np
import pytest
from omegaconf import OmegaConf

from robobase.errors import UserError
from robobase.logger import Logger

wandb = pytest.importorskip("wandb", reason="wandb is not installed; its extra brings it")
VIDEO = {"video": np.zeros((4, 9, 7, 3), np.uint8), "fps": 4}


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # of ~/.netrc
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there


def _cfg(**wandb_settings):
    settings = {"use": True, "project": "p", "entity": None, "name": None, **wandb_settings}
    return OmegaConf.create({"save_csv": True, "tb": {"use": True}, "wandb": settings})


def test_both_sinks_get_everything_offline(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = Logger(tmp_path, _cfg())
    logger.log_metrics({"x": 9.0}, 400, "pretrain")
    metrics = {"reward": 2.5, "rgb": np.zeros((8, 6, 3), np.uint8), "rollout": VIDEO}
    logger.log_metrics(metrics, 30, "eval")  # fewer than the steps of pre-training
    summary = dict(wandb.run.summary)
    logger.close()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("eval/reward")] == [(30, 2.5)]
    assert (summary["pretrain/x"], summary["pretrain_steps"]) == (9, 400)
    assert (summary["eval/reward"], summary["env_steps"]) == (2.5, 30)
    assert summary["eval/rgb"]["_type"] == "image-file"
    assert summary["eval/rollout"]["_type"] == "video-file"
    (video,) = tmp_path.glob("wandb/offline-run-*/files/media/videos/eval/*.mp4")
    assert b"ftyp" in video.read_bytes()[:12]


def test_videos_need_no_moviepy(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "moviepy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "moviepy", None)
    logger = Logger(tmp_path, _cfg())
    logger.log_metrics({"rollout": VIDEO}, 0, "eval")
    logger.close()
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/videos/eval/*.mp4"))


def test_online_without_a_login_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match=r"run `wandb login`, or set wandb\.mode=offline") as raised:
        Logger(tmp_path, _cfg(mode="online"))
    assert "\n" not in str(raised.value)


def test_an_unknown_mode_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"wandb\.mode=of is not allowed; give offline or online"):
        Logger(tmp_path, _cfg(mode="of"))
