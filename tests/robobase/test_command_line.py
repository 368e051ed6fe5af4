"""The command that a run ends with, typed as it was printed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from tiny_task import CONFIG_DIR

from robobase import command_line, train
from robobase.command_line import hydra_value
from robobase.snapshot import read

HERE = Path(__file__).parent
NASTY = [
    "plain/path_1.2-3@4%+5",
    "ä/ö ü/日本/🤖",
    *(f"a{sign}b/c{sign}" for sign in "=()'\"&#[]{};~!,$\\`% \t*?<>|:@+^"),
    "\\'/\\\\'/\\\"/\\\\",
    "'\"'/\"'\"",
    "-m/--multirun",
    "null/1e5/true",
    "a//b/../c",
    "$HOME/`id`/$(id)/!!",
    "both \\' and \\\" at the end\\",
]
EVERYTHING = "ä 日=()'\"&#[]{};~!,$\\`% end\\"  # in one folder's name


@pytest.mark.parametrize("path", [*NASTY, EVERYTHING])
def test_hydra_reads_a_quoted_path_back(path):
    (override,) = OverridesParser.create().parse_overrides([f"resume_from={hydra_value(path)}"])
    assert override.value() == path


def test_an_ordinary_path_stays_readable():
    path = "/data/runs/so101_lift/2026-01-02_03-04-05/snapshots/latest_snapshot.pt"
    assert hydra_value(path) == path


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh"])
def test_a_shell_and_hydra_read_the_printed_command_back(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    commands = [command_line.to_resume(Path(path)) for path in (*NASTY, EVERYTHING)]
    script = "\n".join(
        f"printf '%s\\n' {command.removeprefix(command_line.interpreter())}" for command in commands
    )
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run([shell, "-c", script], capture_output=True, env=environment, timeout=60)
    words = done.stdout.decode().splitlines()
    assert words[:2] == ["-m", "robobase.train"]
    given = [word for word in words if word.startswith("resume_from=")]
    read_back = [o.value() for o in OverridesParser.create().parse_overrides(given)]
    assert read_back == [str(Path(path)) for path in (*NASTY, EVERYTHING)]


SETTINGS = [
    "num_train_frames=120",
    "eval_every_steps=null",
    "num_gpus=0",
    "num_threads=1",
    "+notes.list=[1,'two words',\"it's\"]",
    '+notes.dict={a: 1, b: \'x,y\', c\\ d: "\\""}',
    "++notes.text='$HOME and \\\\ and \"quotes\"'",
    "+notes.empty=",
    "experiment_name='ä b'",
]


def finished(monkeypatch, capsys, folder: Path, *overrides: str) -> str:
    """The last line of a run in this process, without what comes before the colon."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    words = ["train", "--config-dir", str(CONFIG_DIR), "env=tiny", *SETTINGS, *overrides]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    train.main()
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("to go on")]
    return line.partition(": ")[2]


def type_it(shell: str, command: str, folder: Path, **environment: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [shell, "-c", command], cwd=folder, env=variables, capture_output=True, timeout=250
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize(
    ("shell", "locale"),
    [("sh", "C"), pytest.param("bash", "C.UTF-8", marks=pytest.mark.slow)],
)
def test_the_printed_command_goes_on_from_any_folder(monkeypatch, capsys, tmp_path, shell, locale):
    folder = tmp_path / EVERYTHING
    command = finished(monkeypatch, capsys, folder)
    longer = command.replace("num_train_frames=120", "num_train_frames=140")
    out = type_it(shell, longer, folder, LC_ALL=locale)
    assert "at 120 env steps; changed settings: num_train_frames: 120 -> 140\n" in out
    runs = sorted((folder / "runs" / "ä b").iterdir())
    assert len(runs) == 2
    steps = [read(r / "snapshots" / "latest_snapshot.pt")["progress"]["env_steps"] for r in runs]
    assert steps == [120, 140]


@pytest.mark.slow
def test_the_printed_command_of_a_job_of_a_multirun_goes_on_in_its_folder(tmp_path):
    folder = tmp_path / EVERYTHING
    folder.mkdir()
    words = [sys.executable, "-m", "robobase.train", "-m", "--config-dir", str(CONFIG_DIR)]
    words += ["env=tiny", *SETTINGS, "seed=1,2", "hydra.sweep.dir='a b'"]
    variables = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=folder, env=variables, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("to go on")]
    assert len(lines) == 2
    command = next(line.partition(": ")[2] for line in lines if "seed=2" in line)
    type_it("sh", command.replace("num_train_frames=120", "num_train_frames=140"), folder)
    state = read(folder / "a b" / "1" / "snapshots" / "latest_snapshot.pt")
    assert state["progress"]["env_steps"] == 140
