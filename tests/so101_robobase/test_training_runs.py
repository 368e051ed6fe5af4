"""Claims about `python -m robobase.train env=so101_lift` as a user starts it; slow."""

import csv
import os
import subprocess
import sys
import time

import pytest
import torch

pytestmark = pytest.mark.slow

CLOCKS = ("time", "per_second")  # columns that no two runs share
QUICK = ["launch=smoke", "num_threads=1", "log_eval_video=false", "progress_bar=false"]


def start(folder, *settings):
    command = [sys.executable, "-m", "robobase.train", "env=so101_lift", *QUICK, *settings]
    return subprocess.Popen(
        [*command, f"hydra.run.dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def train(folder, *settings):
    process = start(folder, *settings)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def rows(path):
    with open(path, newline="") as stream:
        return [
            {k: v for k, v in row.items() if not any(clock in k for clock in CLOCKS)}
            for row in csv.DictReader(stream)
        ]


@pytest.mark.parametrize(
    "settings",
    [
        ["env.observation=seg_depth"],
        ["env.observation=seg"],
        ["env.observation=rgb"],
        ["pixels=false"],
        ["env.control.mode=cartesian_delta", "demos=4"],
        ["env.renderer=ray", "env.stage=0"],
    ],
    ids=" ".join,
)
def test_2000_steps_train_and_write_every_artefact(tmp_path, settings):
    run = tmp_path / "run"
    train(run, "num_train_frames=2000", "log_eval_video=true", *settings)
    for artefact in (
        "config.yaml",
        "versions.json",
        "eval.csv",
        "learning_curves.png",
        "eval_videos/0.mp4",
        "eval_videos/best.mp4",
        "eval_videos/last.mp4",
        "snapshots/latest_snapshot.pt",
        "snapshots/best_snapshot.pt",
    ):
        assert (run / artefact).stat().st_size > 0, artefact
    last = rows(run / "train.csv")[-1]
    assert int(last["env_steps"]) == 2000
    assert float(last["critic_loss"]) > 0


def test_a_run_killed_and_resumed_equals_an_unbroken_one(tmp_path):
    whole, broken, resumed = (tmp_path / name for name in ("whole", "broken", "resumed"))
    settings = ("snapshot_replay=true", "snapshot_every_n=800", "eval_every_steps=800")
    train(whole, *settings)
    process = start(broken, *settings)
    while not (broken / "snapshots" / "1600_snapshot.pt").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    snapshot = broken / "snapshots" / "1600_snapshot.pt"
    assert "changed settings: none" in train(resumed, *settings, f"resume_from={snapshot}")
    for table in ("train.csv", "eval.csv"):
        assert rows(resumed / table) == rows(whole / table)
    ends = [
        torch.load(run / "snapshots" / "latest_snapshot.pt", weights_only=True)["agent"]
        for run in (whole, resumed)
    ]
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
