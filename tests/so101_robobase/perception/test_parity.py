"""Parity: figures that are right where the answer is known, and errors in one line."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from so101_robobase.arm.alignment import CameraPose
from so101_robobase.base.cli import main
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.perception.dataset import DatasetSettings
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.parity import Comparison, action_difference, compare
from so101_robobase.perception.parity_report import picture
from so101_robobase.perception.scenes import simulate_pool
from so101_robobase.vision.observation import ClassId

SNAPSHOT = str(Path(__file__).parents[3] / "policies/whole_task_snapshot.pt")


def comparison(true, seen):
    frames = np.zeros((1, 48, 64, 3), np.uint8)
    return Comparison(np.asarray(true, np.uint8), np.asarray(seen, np.uint8), frames)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, (5, 1, 84, 84))
    return np.concatenate([ids, rng.integers(0, 256, (5, 1, 84, 84))], axis=1)


def test_what_is_seen_right_scores_full_marks(pictures):
    same = comparison(pictures, pictures)
    assert same.confusion.mean_iou == 1
    expected = {"correlation": 1, "rank_correlation": 1, "mean_absolute_error": 0}
    assert same.disparity() == pytest.approx(expected)


def test_rank_correlation_sees_through_any_rising_curve_and_correlation_does_not(pictures):
    curved = pictures.copy()
    curved[:, 1] = np.round(255 * (pictures[:, 1] / 255) ** 3)
    figures = comparison(pictures, curved).disparity()
    assert figures["rank_correlation"] > 0.98  # not 1: rounding makes equals of small values
    assert figures["correlation"] < 0.95
    upside_down = pictures.copy()
    upside_down[:, 1] = 255 - pictures[:, 1]
    assert comparison(pictures, upside_down).disparity()["rank_correlation"] == pytest.approx(-1)


def test_a_picture_without_depth_counts_as_uncorrelated(pictures):
    flat = pictures.copy()
    flat[:, 1] = 7
    assert comparison(pictures, flat).disparity()["correlation"] == 0


@pytest.mark.opengl
def test_the_simulators_own_sight_is_the_truth_and_its_picture_has_a_row_a_frame():
    settings = DatasetSettings.randomized(1.2, width=96, height=72, seed=5)
    pool = simulate_pool(5, settings.physical, size=64, num_threads=1)
    same = compare(settings, pool, Eyes(None), num_images=20, num_frames=3)
    assert same.true.shape == (20, 2, 84, 84)
    assert np.array_equal(same.true, same.seen)
    worse = compare(settings, pool, Eyes(None, "simulated"), num_images=4, num_frames=3)
    assert np.array_equal(worse.true, same.true[:4])
    assert not np.array_equal(worse.seen[:, 1], worse.true[:, 1])
    assert (same.true[:, 0] == ClassId.CUBE).any()
    settings = dataclasses.replace(
        settings, camera=CameraPose((0.02, -0.06, 0.03), (0.1, 0.2, -0.1), 60.0)
    )
    moved = compare(settings, pool, Eyes(None), num_images=3, num_frames=3)
    assert not np.array_equal(moved.true, same.true[:3])
    assert not np.array_equal(moved.frames, same.frames)
    drawn = picture(same)
    assert drawn.shape[1] == 5 * 168
    assert 3 * 168 < drawn.shape[0] < 4 * 168


def test_actions_do_not_differ_on_the_same_pictures_and_do_on_worse_ones():
    def difference(depth):
        overrides = {"env.sight.depth": depth, "env.eval_stage": 3}
        return action_difference(load_policy(SNAPSHOT, overrides=overrides), 4, 2, seed=0)

    assert (difference("scene") == 0).all()
    assert difference("simulated").min() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare"),
        (["--depth", "simulated", "--size", "big"], "must be width x height"),
        (["--depth", "simulated", "--num_images", "0"], "--num_images 0 is too small"),
        (["--depth", "simulated", "--snapshot", "none.pt"], "none.pt"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    output = tmp_path / "report"
    assert main(["perception", "parity", "--output", str(output), *arguments]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert not output.exists()


@pytest.mark.slow
def test_the_command_writes_a_report_that_corruption_reads(tmp_path, capsys):
    from so101_robobase.sim.corruption import CorruptionConfig

    command = ["perception", "parity", "--depth", "simulated", "--output", str(tmp_path)]
    command += ["--snapshot", SNAPSHOT, "--num_episodes", "2", "--num_images", "16"]
    assert main([*command, "--size", "160x120"]) == 0
    report = json.loads((tmp_path / "parity.json").read_text())
    assert report["mean_iou"] == 1
    assert set(report["policy"]) == {"as it is", "with random looks", "as the networks see it"}
    assert len(report["action_difference"]) == 6
    assert (tmp_path / "parity.png").stat().st_size > 1000
    read = CorruptionConfig(report=str(tmp_path / "parity.json")).measured()
    assert (read.boundary, read.missing) == (pytest.approx(0, abs=0.01), 0)
    assert set(read.blobs) == {0}
    assert "mean IoU" in capsys.readouterr().out
