"""Claims about `so101_robobase evaluate` from end to end, on the real task with a tiny agent."""

import io
import json
import shutil
import sys
import time

import imageio.v2 as imageio
import numpy as np
import pytest
from tiny_snapshot import save_tiny_snapshot
from tqdm import tqdm

from so101_robobase.base import cli
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.evaluation import session

OVERRIDES = ("env.observation=seg_depth", "env.episode_length=12")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Path of a snapshot with random weights, as training writes it."""
    return save_tiny_snapshot(tmp_path_factory.mktemp("run"), *OVERRIDES)


@pytest.fixture
def run(tmp_path, trained):
    """A run folder of the test's own: its path and that of its snapshot."""
    folder = tmp_path / "run"
    shutil.copytree(trained.parent.parent, folder)
    return folder, str(folder / "snapshots" / trained.name)


def test_evaluation_reports_every_episode_in_the_run_folder(run, capsys):
    folder, path = run
    assert cli.main(["evaluate", path, "--num_episodes", "3", "--no_video"]) == 0
    (output,) = (folder / "evaluation").iterdir()
    assert [file.name for file in output.iterdir()] == ["evaluation.json"]
    record = json.loads((output / "evaluation.json").read_text())
    first = record["settings"]["seed"]
    assert [episode["seed"] for episode in record["episodes"]] == [first, first + 1, first + 2]
    assert all(0 < episode["length"] <= 12 for episode in record["episodes"])
    assert record["summary"]["num_episodes"] == 3
    assert record["summary"]["best_max_cube_height"] >= 0.0149
    text = capsys.readouterr().out
    assert text.startswith(
        f"{path}: 3 episodes from seed 2000000, 100% stage 3, reward v20, seg_de"
    )
    assert "95% interval (Wilson)" in text
    assert str(output / "evaluation.json") in text


def test_final_figures_come_from_seeds_of_their_own(run):
    folder, path = run
    words = ["--final", "--num_episodes", "2", "--no_video", "--output_dir", str(folder / "out")]
    assert cli.main(["evaluate", path, *words]) == 0
    record = json.loads((folder / "out" / "evaluation.json").read_text())
    assert [episode["seed"] for episode in record["episodes"]] == [10_000_000, 10_000_001]


def test_figures_do_not_depend_on_the_number_of_environments(run):
    folder, path = run
    records = []
    for count in ("1", "3"):
        arguments = ["--num_episodes", "3", "--no_video", "--num_envs", count]
        cli.main(["evaluate", path, *arguments, "--output_dir", str(folder / count)])
        records.append(json.loads((folder / count / "evaluation.json").read_text())["episodes"])
    for one, three in zip(*records, strict=True):
        assert one.pop("cube_start") == three.pop("cube_start")
        assert one == pytest.approx(three, abs=1e-3)


def test_stage_and_overrides_reach_the_task(run):
    folder, path = run
    words = ["--stage", "1", "--reward_version", "v11", "--overrides", "env.hold_steps=2"]
    arguments = ["evaluate", path, *words, "--num_episodes", "2", "--no_video"]
    assert cli.main([*arguments, "--output_dir", str(folder / "out")]) == 0
    record = json.loads((folder / "out" / "evaluation.json").read_text())
    assert record["settings"]["stage"] == {"1": 1.0}
    assert record["settings"]["reward_version"] == "v11"
    # Stage 1 starts with the cube held at lift height.
    assert record["summary"]["best_max_cube_height"] > 0.07


@pytest.mark.opengl
def test_video_shows_four_cameras_the_wrist_and_two_panels(run):
    folder, path = run
    words = ["--num_episodes", "1", "--num_videos", "1", "--frame_size", "64", "--debug"]
    assert cli.main(["evaluate", path, *words, "--output_dir", str(folder / "out")]) == 0
    (video,) = (folder / "out").glob("episode_000_*.mp4")
    frames = imageio.mimread(video)
    assert len(frames) == 6 + 1  # states: 12 control steps, action_repeat 2
    assert frames[0].shape == (2 * 64 + 32, 4 * 64, 3)
    assert len((folder / "out" / "debug" / "episode_000.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_episodes", "0"], "--num_episodes 0 is too small; give 1 or more"),
        (["--final", "--seed", "3"], "--final has the seeds from 10000000; leave out --seed 3"),
        (["--num_envs", "0"], "--num_envs 0 is too small"),
        (["--frame_size", "5"], "--frame_size 5 is too small; give 32 or more"),
        (["--cameras", "topdwn"], "camera='topdwn' is unknown; known: topdown, side, front"),
        (["--stage", "9"], "--stage 9 is too large; give at most 4"),
        (["--reward_version", "v99"], "env.reward_version=v99 is not allowed; give v1"),
        (["--overrides", "frame_stack=two"], "override frame_stack=two: in the snapshot's config"),
        (["--overrides", "env=3"], "override env=3: in the snapshot's config it is {"),
        (["--overrides", "~env.stage"], "cannot use --overrides ~env.stage; give key=value"),
        (["--overrides", "env.stage=0,3"], "cannot use --overrides env.stage=0,3; give"),
        (["--overrides", "nonsense"], "write them as key=value"),
        (
            ["--overrides", "env.observation=rgb"],
            "(2, 2, 84, 84) uint8 there, (2, 3, 84, 84) uint8 here",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_output(run, words, message, capsys):
    folder, path = run
    assert cli.main(["evaluate", path, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "evaluation").exists()


def test_output_that_cannot_be_written_is_one_line(run, capsys):
    folder, path = run
    (folder / "file").touch()
    arguments = ["--no_video", "--output_dir", str(folder / "file" / "out")]
    assert cli.main(["evaluate", path, *arguments]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_interrupted_evaluation_leaves_no_empty_folder(run, monkeypatch):
    folder, path = run

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("so101_robobase.evaluation.session.evaluate", interrupted)
    arguments = ["--no_video", "--output_dir", str(folder / "out")]
    assert cli.main(["evaluate", path, *arguments]) == 130
    assert not (folder / "out").exists()


def test_the_bar_counts_episodes_as_they_end_and_shows_steps_between(run, monkeypatch):
    seen = []

    class Bar(tqdm):
        def __init__(self, **settings):
            super().__init__(**{**settings, "mininterval": 0, "file": io.StringIO()})

        def display(self, *args, **kwargs):
            rate = self.format_dict["rate"] or self.n / max(self.format_dict["elapsed"], 1e-9)
            seen.append((self.n, self.postfix, rate))

    monkeypatch.setattr("so101_robobase.evaluation.session.tqdm", Bar)
    folder, path = run
    arguments = ["--num_episodes", "3", "--num_envs", "1", "--no_video"]
    started = time.perf_counter()
    assert cli.main(["evaluate", path, *arguments, "--output_dir", str(folder / "out")]) == 0
    seconds = time.perf_counter() - started
    assert {n for n, *_ in seen} == {0, 1, 2, 3}
    assert len([n for n, *_ in seen if n == 1]) > 3  # each step of the second episode
    assert "18 steps" in seen[-1][1]  # 12 control steps are 6 of the policy
    assert seen[-1][2] >= 3 / seconds


def test_many_episodes_are_played_in_waves_so_that_some_end_early():
    assert session.width_of(100, None) == 15  # 7 waves
    assert session.width_of(16, None) == 16
    assert session.width_of(3, 8) == 3


def test_time_to_lift_is_the_median_of_successes_with_quartiles(run, capsys):
    folder, path = run
    words = ["--stage", "1", "--overrides", "env.hold_steps=2", "env.on_success=continue"]
    arguments = ["evaluate", path, *words, "--num_episodes", "3", "--no_video"]
    assert cli.main([*arguments, "--output_dir", str(folder / "out")]) == 0
    record = json.loads((folder / "out" / "evaluation.json").read_text())
    times = [episode["time_to_lift"] for episode in record["episodes"] if episode["success"]]
    assert times  # the cube is held at lift height from the start
    assert all(0.04 <= seconds <= 0.24 for seconds in times)
    first, median, third = record["summary"]["time_to_lift"]
    assert first <= median <= third
    assert median == pytest.approx(np.median(times))
    assert f"{median:.2f} s ({first:.2f} to {third:.2f})" in capsys.readouterr().out


def test_episodes_that_blow_up_are_told(run, monkeypatch, capsys):
    folder, path = run
    step = TaskVectorEnv.step

    def blow_up(self, actions):
        if (self.task.episode_steps[0]) == 4:
            self.task.sim.qvel[0, 1] = 1e12
        return step(self, actions)

    monkeypatch.setattr(TaskVectorEnv, "step", blow_up)
    arguments = ["--num_episodes", "2", "--no_video", "--output_dir", str(folder / "out")]
    assert cli.main(["evaluate", path, *arguments]) == 0
    record = json.loads((folder / "out" / "evaluation.json").read_text())
    assert [episode["unstable"] for episode in record["episodes"]] == [True, False]
    assert record["episodes"][0]["length"] == 5  # control steps
    assert record["summary"]["unstable_episodes"] == 1
    assert "ended by unstable physics" in capsys.readouterr().out


def test_a_snapshot_of_a_run_with_wandb_is_evaluated_without_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it fails
    small = ("pixels=false", "env.observation=state", "env.episode_length=12")
    path = save_tiny_snapshot(tmp_path, *small, "wandb.use=true", "wandb.mode=online")
    assert cli.main(["evaluate", str(path), "--num_episodes", "1", "--no_video"]) == 0
