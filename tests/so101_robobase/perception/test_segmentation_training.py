import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from segmentation_examples import SMALL, small_config, write_pictures

from robobase.errors import UserError
from robobase.signals import StopRequest
from so101_robobase.base.cli import main
from so101_robobase.perception.segmentation import checkpoint
from so101_robobase.perception.segmentation.config import TrainingConfig
from so101_robobase.perception.segmentation.model import SegmentationNetwork
from so101_robobase.perception.segmentation.training import Training, TrainingData

pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("timm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data", 15)


class StopAfter:
    """Stands in for a `StopRequest` that comes after so many steps."""

    def __init__(self, steps: int):
        self._left = steps

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left <= 0


def training(config: TrainingConfig, run_dir: Path) -> Training:
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    network = SegmentationNetwork(config.model.spec)
    data = TrainingData.of(config)
    return Training(config, network, data, run_dir, torch.device("cpu"))


def test_a_short_training_learns_colours(tmp_path):
    pictures = write_pictures(tmp_path / "data", 60)
    config = small_config(pictures, "optimisation.epochs=3", "augmentation.enabled=false")
    run = training(config, tmp_path / "run")
    before = run.evaluate().policy.mean_iou
    assert run.run(StopRequest())
    history = run.progress.history
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]
    assert history[-1]["iou"] > before + 0.2
    assert run.progress.best["iou"] == max(row["iou"] for row in history)


def test_an_interrupted_run_ends_bit_by_bit_as_an_uninterrupted_one(folder, tmp_path):
    config = small_config(folder, "optimisation.epochs=2")
    whole = training(config, tmp_path / "whole")
    assert whole.run(StopRequest())
    broken = tmp_path / "broken"
    assert not training(config, broken).run(StopAfter(4))  # of 2 x 3 steps
    again = training(config, broken)
    again.resume()
    assert again.progress.step == 4
    assert again.run(StopRequest())
    for (name, expected), value in zip(
        whole.network.state_dict().items(), again.network.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, value), name
    for row, other in zip(whole.progress.history, again.progress.history, strict=True):
        assert {k: v for k, v in row.items() if k != "minutes"} == {
            k: v for k, v in other.items() if k != "minutes"
        }


def test_training_ends_when_patience_does(folder, tmp_path):
    config = small_config(folder, "optimisation.epochs=50", "optimisation.patience=1")
    slow = dataclasses.replace(config.optimisation, learning_rate=1e-12)
    run = training(dataclasses.replace(config, optimisation=slow), tmp_path)
    assert run.run(StopRequest())
    assert len(run.progress.history) < 50
    assert run.progress.stale == 1


def test_the_learning_rate_rises_and_falls_to_nothing(folder, tmp_path):
    run = training(small_config(folder, "optimisation.epochs=20"), tmp_path)
    rates = [run._learning_rate(step) for step in range(run.total_steps + 1)]
    peak = int(np.argmax(rates))
    assert 0 < peak < 0.1 * run.total_steps
    assert max(rates) <= run.config.optimisation.learning_rate
    assert rates[-1] == pytest.approx(0)
    assert sorted(rates[peak:], reverse=True) == rates[peak:]


def test_a_loss_that_is_no_number_stops_the_run(folder, tmp_path):
    run = training(small_config(folder, "cache=false"), tmp_path)
    with torch.no_grad():
        next(run.network.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="learning_rate"):
        run.run(StopRequest())


def test_the_command_trains_reports_and_continues(folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    start = ["segmentation", "train", "--data", str(folder), "--output", str(run_dir)]
    stopped = main([*start, "--time_limit_minutes", "0", *SMALL, "optimisation.epochs=1"])
    assert stopped == 130
    assert f"--resume {run_dir}" in capsys.readouterr().out
    finish = ["segmentation", "train", "--resume", str(run_dir), "--test", str(folder)]
    assert main(finish) == 0
    output = capsys.readouterr().out
    assert "moving_finger" in output
    written = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    reports = ("iou.csv", "confusion.csv", "confusion.png", "overlays.png", "worst.png")
    assert written >= {
        "best.pt", "last.pt", "config.yaml", "versions.json", "history.csv", "curves.png",
        *(f"{part}/{name}" for part in ("validation", "test") for name in reports),
    }  # fmt: skip
    assert not any("cache" in name for name in written)
    rows = list(csv.DictReader((run_dir / "history.csv").read_text().splitlines()))
    assert [float(row["epoch"]) for row in rows] == [1.0]
    best = checkpoint.read(run_dir / "best.pt")
    assert best["metrics"]["iou"] == max(float(row["iou"]) for row in rows)
    assert main([*start, *SMALL]) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        ([], "give --data"),
        (["--resume", "empty"], "no run to continue"),
        (["--data", "empty", "--validation", "nowhere"], "nowhere does not exist"),
        (["--data", "empty", "epochs=3"], "unknown"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["segmentation", "train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_another_number_of_pictures_is_not_continued(folder, tmp_path):
    config = small_config(folder, "optimisation.epochs=2")
    assert not training(config, tmp_path / "run").run(StopAfter(1))
    fewer = small_config(write_pictures(tmp_path / "fewer", 10), "optimisation.epochs=2")
    with pytest.raises(UserError, match="start a new run"):
        training(fewer, tmp_path / "run").resume()


def test_another_architecture_is_not_continued(folder, tmp_path):
    assert not training(small_config(folder), tmp_path).run(StopAfter(1))
    other = small_config(folder, "model.decoder_options.fpn.decoder_pyramid_channels=64")
    with pytest.raises(UserError, match="another architecture"):
        training(other, tmp_path).resume()
