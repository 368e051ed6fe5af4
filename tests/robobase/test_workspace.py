"""The run: what is collected, when it learns, evaluates and logs, and what it refuses."""

import copy
import csv
import importlib.metadata
import json
import signal

import numpy as np
import pytest
import torch
from tiny_task import TinyFactory, tiny_config

from robobase.errors import UserError
from robobase.snapshot import read
from robobase.workspace import Workspace


def make(work_dir, *overrides: str) -> Workspace:
    return Workspace(tiny_config(*overrides), work_dir=work_dir)


def rows(file) -> list[dict[str, str]]:
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_writes_its_artefacts(tmp_path):
    make(tmp_path, "log_eval_video=true", "log_eval_video_every_n_evals=2").train()
    assert [int(r["step"]) for r in rows(tmp_path / "train.csv")] == [100, 200, 300, 400]
    assert [int(r["step"]) for r in rows(tmp_path / "eval.csv")] == [0, 200, 400]
    names = {p.name for p in (tmp_path / "eval_videos").iterdir()}
    assert names == {"0.mp4", "400.mp4", "best.mp4", "last.mp4"}
    names = {p.name for p in (tmp_path / "snapshots").iterdir()}
    assert {"400_snapshot.pt", "latest_snapshot.pt", "best_snapshot.pt"} <= names
    assert "env_name: tiny" in (tmp_path / "config.yaml").read_text()
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["packages"]["torch"] == importlib.metadata.version("torch")
    assert versions["machine"]["cores"] >= 1


def test_transitions_of_unfinished_episodes_are_in_the_buffer(tmp_path):
    run = make(tmp_path, "num_train_frames=8", "eval_every_steps=null", "save_snapshot=false")
    run.train()
    assert len(run.replay_buffer) == 8
    assert run.global_env_episodes == 0


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        (["update_every_steps=4"], 76),
        (["update_every_steps=1"], 304),
        (["utd_ratio=0.1"], 30),
        (["utd_ratio=2"], 608),
        (["utd_ratio=0"], 0),
    ],
)
def test_updates_per_transition_are_exact(tmp_path, settings, updates):
    """4 envs, 400 env steps; learning starts with the 100th transition: 304 are learnt from."""
    run = make(tmp_path, "eval_every_steps=null", "save_snapshot=false", *settings)
    calls = []
    run.agent.update = lambda replay_iter, step, buffer: calls.append(step) or {}  # type: ignore[method-assign]
    run.train()
    assert len(calls) == updates
    assert all(step % 4 == 0 and 100 <= step <= 400 for step in calls)


def test_schedules_count_env_steps(tmp_path):
    """With action_repeat 2, an iteration of 4 environments is 8 env steps."""
    run = make(tmp_path, "action_repeat=2", "log_every=80", "replay_size_before_train=50")
    run.train()
    assert run.main_loop_iterations == 50
    assert run.global_env_steps == 400
    assert [int(r["step"]) for r in rows(tmp_path / "train.csv")] == [80, 160, 240, 320, 400]


def test_every_multiple_triggers_once_even_between_iterations(tmp_path):
    run = make(tmp_path, "num_train_envs=3", "log_every=50", "eval_every_steps=null")
    run.train()
    steps = [int(r["step"]) for r in rows(tmp_path / "train.csv")]
    assert steps == [51, 102, 150, 201, 252, 300, 351, 402]


def test_training_success_counts_every_environment(tmp_path):
    run = make(tmp_path, "env.episode_length=80", "num_train_frames=800", "num_explore_steps=800")
    run.train()
    last = rows(tmp_path / "train.csv")[-1]
    assert 0 < float(last["episode_success"]) <= 1
    assert int(last["env_episodes"]) == run.global_env_episodes > 4


def test_an_untrained_agent_that_stays_the_best_is_the_best_snapshot(tmp_path):
    run = make(tmp_path, "num_train_frames=200")
    scores = iter([{"episode_reward": 1.0}, {"episode_reward": 0.0}])
    run.evaluator.evaluate = lambda *_: next(scores)  # type: ignore[method-assign]
    run.train()
    assert read(tmp_path / "snapshots" / "best_snapshot.pt")["progress"]["env_steps"] == 0
    assert read(tmp_path / "snapshots" / "latest_snapshot.pt")["progress"]["env_steps"] == 200


def test_evaluation_seeds_are_fixed(tmp_path):
    run = make(tmp_path)
    assert run.eval() == run.eval()
    run.shutdown()


def test_vectorised_and_single_evaluation_agree(tmp_path):
    run = make(tmp_path, "num_eval_episodes=7", "num_eval_envs=3")
    vectorised = run.evaluator.evaluate(run.agent, run.progress)
    run.evaluator.envs = None
    single = run.evaluator.evaluate(run.agent, run.progress)
    assert vectorised == pytest.approx(single, abs=1e-4)
    run.shutdown()


def test_eval_records_every_episode_in_its_own_file(tmp_path):
    run = make(tmp_path, "log_eval_video=true", "num_eval_episodes=3")
    metrics = run.eval()
    assert {p.name for p in (tmp_path / "eval_videos").iterdir()} == {
        "0_0.mp4",
        "0_1.mp4",
        "0_2.mp4",
    }
    assert metrics["eval_rollout"]["video"].ndim == 4
    run.shutdown()


def test_zero_train_envs_is_for_evaluation_only(tmp_path):
    run = make(tmp_path, "num_train_envs=0")
    assert run.train_envs is None
    assert "episode_success" in run.eval()
    with pytest.raises(UserError, match="num_train_envs=0"):
        run.train()
    run.shutdown()


def test_shutdown_can_be_called_twice(tmp_path):
    run = make(tmp_path, "num_train_frames=8", "eval_every_steps=null")
    run.train()
    run.shutdown()


def test_no_evaluation_episodes_means_no_evaluation(tmp_path):
    run = make(tmp_path, "num_eval_episodes=0")
    assert run.eval_env is None
    run.train()
    assert not (tmp_path / "eval.csv").exists()


def test_demonstrations_prefill_both_buffers_and_pretrain(tmp_path):
    run = make(
        tmp_path,
        "demos=3",
        "demo_batch_size=8",
        "num_pretrain_steps=4",
        "log_pretrain_every=2",
        "use_self_imitation=true",
        "method.bc_lambda=1.0",
        "env.episode_length=80",
        "num_explore_steps=400",
    )
    run.train()
    assert run.pretrain_steps == 4
    assert run.demo_replay_buffer is not None
    assert len(rows(tmp_path / "pretrain.csv")) == 2
    shown = sum(len(demo) - 1 for demo in run.env_factory._demos)  # type: ignore[attr-defined]
    demo_steps = len(run.demo_replay_buffer)
    assert demo_steps > shown  # successful episodes were added
    assert len(run.replay_buffer) == 400 + demo_steps  # to both buffers
    assert next(run.replay_iter)["action"].shape[0] == 16 + 8


BC = ["launch=tiny_bc", "demos=2", "num_pretrain_steps=4", "log_pretrain_every=2"]
BC += ["method.encoder_model.num_downsample_convs=1"]


def test_a_method_is_not_given_what_the_environment_set_for_another(tmp_path, capsys):
    run = make(tmp_path, *BC)
    assert "not used by robobase.method.bc.BC: method.{critic_model}\n" in capsys.readouterr().out
    before = copy.deepcopy(run.agent.state_dict())
    run.train()
    assert "to go on, with a larger num_pretrain_steps: " in capsys.readouterr().out
    learnt = run.agent.state_dict()
    assert not any(torch.equal(before[key], learnt[key]) for key in before if "bias" in key)


def test_every_evaluation_while_pretraining_has_its_own_video(tmp_path):
    settings = ["demos=1", "num_pretrain_steps=4", "log_pretrain_every=2", "eval_every_steps=2"]
    make(tmp_path, *settings, "num_train_frames=0", "log_eval_video=true").train()
    names = {p.name for p in (tmp_path / "eval_videos").iterdir()}
    assert names == {"pretrain_0.mp4", "pretrain_2.mp4", "0.mp4", "best.mp4", "last.mp4"}


def test_state_observations_train(tmp_path):
    make(tmp_path, "pixels=false", "num_train_frames=200").train()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("replay_size_before_train=5", "replay_size_before_train=5"),
        ("action_sequence=2", "action_sequence=2"),
        ("execution_length=2", "execution_length=2"),
        ("num_train_envs=-1", "num_train_envs=-1"),
        ("utd_ratio=-1", "utd_ratio=-1"),
        ("utd_ratio=often", "utd_ratio=often"),
        ("num_train_frames=null", "num_train_frames=null"),
        ("batch_size=many", "batch_size=many"),
        ("batch_size=1.5", "batch_size=1.5"),
        ("eval_every_steps=often", "eval_every_steps=often"),
        ("log_every=-1", "log_every=-1"),
        ("replay.nstep=0", "replay.nstep=0"),
        ("replay.size=99", "replay.size=99 never holds replay_size_before_train=100"),
        ("demo_batch_size=8", "demo_batch_size=8 needs demonstrations"),
        ("time_limit_minutes=soon", "time_limit_minutes=soon"),
        ("num_gpus=-1", "num_gpus=-1"),
        ("num_threads=0", "num_threads=0"),
        ("env_factory=null", "env_factory"),
        ("method.is_rl=false", "replay.nstep=3"),
        ("snapshot_keeper.keep_last=0", "keep_last=0"),
        ("resume_from=/nowhere/1_snapshot.pt", "/nowhere/1_snapshot.pt does not exist"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path, setting, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(tmp_path, setting)
    assert "\n" not in str(caught.value)


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    run = make(tmp_path, "num_train_frames=4e1", "batch_size=1e1", "eval_every_steps=null")
    run.train()
    assert run.global_env_steps == 40
    assert run.replay_buffer.batch_size == 10


def test_a_signal_ends_the_run_with_a_snapshot(tmp_path):
    run = make(tmp_path, "num_train_frames=1000000", "eval_every_steps=null")
    step = run.train_envs.step  # type: ignore[union-attr]

    def step_and_signal(actions):
        if run.main_loop_iterations == 30:
            signal.raise_signal(signal.SIGTERM)
        return step(actions)

    run.train_envs.step = step_and_signal  # type: ignore[union-attr, method-assign]
    before = signal.getsignal(signal.SIGTERM)
    run.train()
    assert read(tmp_path / "snapshots" / "latest_snapshot.pt")["progress"]["iterations"] == 31
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_limit_ends_the_run_with_a_snapshot(tmp_path):
    make(tmp_path, "num_train_frames=100000000", "time_limit_minutes=0.01").train()
    assert (tmp_path / "snapshots" / "latest_snapshot.pt").exists()


def test_an_exception_shuts_the_run_down(tmp_path):
    class Breaking(TinyFactory):
        def make_train_env(self, cfg):
            env = super().make_train_env(cfg)
            env.step = lambda actions: np.zeros(1)[2]
            return env

    run = Workspace(tiny_config("eval_every_steps=null"), Breaking(), work_dir=tmp_path)
    with pytest.raises(IndexError):
        run.train()
    assert run.train_envs is None
