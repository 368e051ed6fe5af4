"""`python -m robobase.train` as a user meets it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from tiny_task import CONFIG_DIR, tiny_config

from robobase import compute, train
from robobase.errors import UserError
from robobase.snapshot import read

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "robobase.train", "--config-dir", str(CONFIG_DIR), "env=tiny"]
SHORT = ["num_train_frames=120", "eval_every_steps=null", "num_gpus=0"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def in_process(monkeypatch, capsys, folder, *overrides: str) -> tuple[int, str]:
    """Exit code and stderr of `main()`, without the time a new process takes to import torch."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [*COMMAND[2:], *overrides])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    capsys.readouterr()
    try:
        train.main()
    except SystemExit as stop:
        return int(stop.code or 0), capsys.readouterr().err
    return 0, capsys.readouterr().err


def test_the_environment_is_left_as_it_was(monkeypatch, capsys, tmp_path):
    """Else the next run in this process, and each that it starts, shows tracebacks."""
    assert in_process(monkeypatch, capsys, tmp_path, "method=nope")[0] == 2
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit):
        train.main()
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


def test_the_run_folder_is_named_by_experiment_and_time(monkeypatch, capsys, tmp_path):
    code, err = in_process(
        monkeypatch, capsys, tmp_path, *SHORT, "experiment_name=first", "num_threads=1"
    )
    assert code == 0, err
    (folder,) = (tmp_path / "runs" / "first").iterdir()
    assert {"config.yaml", "versions.json", "train.csv", "snapshots"} <= {
        p.name for p in folder.iterdir()
    }
    assert "experiment_name=first" in json.loads((folder / "versions.json").read_text())["command"]


def test_the_command_that_a_run_ends_with_continues_it(monkeypatch, capsys, tmp_path):
    begin = [*SHORT, "num_threads=1", "hydra.run.dir=first"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*COMMAND[2:], *begin])
    train.main()
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("to go on")]
    words = shlex.split(line.partition(": ")[2])
    assert words[1:3] == ["-m", "robobase.train"]
    longer = [word.replace("num_train_frames=120", "num_train_frames=160") for word in words[3:]]
    code, err = in_process(monkeypatch, capsys, tmp_path, *longer[3:], "hydra.run.dir=second")
    assert code == 0, err
    latest = read(tmp_path / "second" / "snapshots" / "latest_snapshot.pt")
    assert latest["progress"]["env_steps"] == 160


def test_a_run_without_method_is_told_so_when_it_resumes(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "resume_from=some/latest_snapshot.pt"])
    with pytest.raises(SystemExit):
        train.main()
    assert "with resume_from give all else as the first time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["num_threads=0"], "num_threads=0"),
        (["replay_size_before_train=5"], "replay_size_before_train=5"),
        (["resume_from=missing.pt"], "snapshot missing.pt does not exist"),
        (["hydra.run.dir=file/here"], "file/here: Not a directory"),
        (["method.stddev_clip=???"], "stddev_clip"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, overrides, message):
    (tmp_path / "file").write_text("")
    code, err = in_process(monkeypatch, capsys, tmp_path, "num_gpus=0", *overrides)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=nosuch"], "method=nosuch is unknown; known: bc, dagger, drqv2"),
        (["no_such_key=1"], "no_such_key"),
        (["seed=1,2"], "multirun"),
    ],
)
def test_hydras_own_errors_stay_readable(monkeypatch, capsys, tmp_path, overrides, message):
    code, err = in_process(monkeypatch, capsys, tmp_path, *overrides)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_fault_of_the_program_keeps_its_traceback():
    assert train.user_message(ZeroDivisionError()) is None
    nested = RuntimeError("outer")
    nested.__cause__ = UserError("inner")
    assert train.user_message(nested) == "inner"


def test_sigterm_saves_a_snapshot_and_exits_0(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "num_train_frames=100000000", "eval_every_steps=null", "hydra.run.dir=here"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "here" / "train.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "stopped by SIGTERM" in output
    assert read(tmp_path / "here" / "snapshots" / "latest_snapshot.pt")["progress"]["env_steps"] > 0


def test_a_multirun_gives_each_job_its_folder_and_names_the_failed_one(tmp_path):
    sweep = ["hydra.sweep.dir=sweep", "replay_size_before_train=100,5"]
    done = subprocess.run(
        [*COMMAND[:3], "--multirun", *COMMAND[3:], *SHORT, *sweep],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode != 0
    assert "1 of 2 jobs failed" in done.stderr
    assert "sweep/1: replay_size_before_train=5" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "sweep" / "0" / "snapshots" / "latest_snapshot.pt").exists()
    threads = max(1, compute.available_cores() // 2)
    assert f"num_threads: {threads}\n" in (tmp_path / "sweep" / "0" / "config.yaml").read_text()


def test_a_command_line_group_wins_over_a_launch_file():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        searchpath = f"hydra.searchpath=[file://{CONFIG_DIR}]"
        cfg = hydra.compose("robobase_config", [searchpath, "launch=tiny_bc"])
        assert cfg.method._target_.endswith("BC")
        assert cfg.env.env_name == "tiny"
        assert cfg.num_train_frames == 0
        cfg = hydra.compose("robobase_config", [searchpath, "launch=tiny_bc", "method=drqv2"])
        assert cfg.method._target_.endswith("DrQV2")
        assert "adaptive_lr" not in cfg.method


def test_without_groups_the_primary_config_composes_and_the_run_is_refused():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config")
        with pytest.raises(MissingConfigException):
            hydra.compose("robobase_config", ["env=nosuch"])
    from robobase.workspace import Workspace

    with pytest.raises(UserError, match="no method is chosen"):
        Workspace(cfg)


INTERFACE = {  # section 13.1, but for the keys without effect and the defaults README names
    "num_train_envs": 1,
    "replay_size_before_train": 2000,
    "num_pretrain_steps": 0,
    "num_train_frames": 1100000,
    "eval_every_steps": 10000,
    "num_eval_episodes": 10,
    "update_every_steps": 2,
    "num_explore_steps": 2000,
    "save_snapshot": False,
    "snapshot_every_n": 1000,
    "batch_size": 256,
    "is_imitation_learning": False,
    "demos": 0,
    "demo_batch_size": None,
    "use_self_imitation": False,
    "pixels": False,
    "visual_observation_shape": [84, 84],
    "frame_stack": 1,
    "frame_stack_on_channel": True,
    "use_onehot_time_and_no_bootstrap": False,
    "action_repeat": 1,
    "action_sequence": 1,
    "execution_length": 1,
    "temporal_ensemble": True,
    "temporal_ensemble_gain": 0.01,
    "use_standardization": False,
    "use_min_max_normalization": False,
    "min_max_margin": 0.0,
    "norm_obs": False,
    "replay.prioritization": False,
    "replay.size": 1000000,
    "replay.gamma": 0.99,
    "replay.demo_size": None,
    "replay.save_dir": None,
    "replay.nstep": 3,
    "replay.pin_memory": True,
    "replay.alpha": 0.7,
    "replay.beta": 0.5,
    "replay.sequential": False,
    "replay.transition_seq_len": 1,
    "tb.use": False,
    "tb.name": None,
    "experiment_name": "exp",
    "seed": 1,
    "num_gpus": 1,
    "log_every": 1000,
    "log_eval_video": True,
    "log_pretrain_every": 100,
    "save_csv": False,
}


def test_the_interfaces_keys_and_defaults_are_kept():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config")
    absent = object()
    assert {key: OmegaConf.select(cfg, key, default=absent) for key in INTERFACE} == INTERFACE


def test_a_method_follows_the_settings_of_the_run():
    cfg = tiny_config("num_explore_steps=7", "action_sequence=3")
    assert cfg.method.num_explore_steps == 7
    assert cfg.method.actor_model.output_sequence_length == 3
    assert cfg.method.stddev_schedule == cfg.env.stddev_schedule


def test_threads_are_shared_among_concurrent_jobs(monkeypatch):
    monkeypatch.setattr(compute, "available_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    for jobs in (1, 3, 100):
        monkeypatch.setenv("ROBOBASE_CONCURRENT_JOBS", str(jobs))
        compute.share_threads(None)
    compute.share_threads(5)
    assert threads == [8, 2, 1, 5]


@pytest.mark.slow
def test_a_training_that_nobody_reads_any_more_saves_and_ends_without_a_traceback(tmp_path):
    command = [*COMMAND, "num_train_frames=100000000", "eval_every_steps=null", "num_gpus=0"]
    process = subprocess.Popen(
        [*command, "log_every=20", "hydra.run.dir=run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.startswith("train"):
            break
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=120)
    assert (tmp_path / "run" / "snapshots" / "latest_snapshot.pt").is_file()


@pytest.mark.slow
def test_a_multirun_that_is_stopped_saves_every_job_and_leaves_no_process(tmp_path):
    sweep = ["hydra.sweep.dir=sweep", "seed=1,2,3", "num_train_frames=100000000", "num_gpus=0"]
    words = [*COMMAND[:3], "--multirun", *COMMAND[3:], *sweep, "hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("sweep/*/train.csv"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped by SIGINT: of 3 jobs 2 ended" in err
    assert "1 were not started" in err
    for number in range(2):
        state = read(tmp_path / "sweep" / str(number) / "snapshots" / "latest_snapshot.pt")
        assert state["replay"] is not None
    assert not (tmp_path / "sweep" / "2").exists()
