"""Claims about the command line itself."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from so101_robobase.base import cli


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in cli.COMMANDS)


@pytest.mark.parametrize("words", [[], ["fly"], ["evaluate"], ["report"]])
def test_incomplete_or_unknown_command_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 2
    assert "usage: so101_robobase" in capsys.readouterr().err


def test_user_error_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("so101_robobase: error: ")
    assert error.count("\n") == 1


def test_full_disk_is_one_line_and_other_faults_keep_their_traceback(capsys, monkeypatch):
    def failing(number):
        def run(args):
            raise OSError(number, "reason", "file")

        return run

    name = "so101_robobase.experiments.report_command.run"
    monkeypatch.setattr(name, failing(errno.ENOSPC))
    assert cli.main(["report", "."]) == 2
    assert capsys.readouterr().err == "so101_robobase: error: cannot write file: reason\n"
    monkeypatch.setattr(name, failing(errno.EBADF))
    with pytest.raises(OSError, match="reason"):
        cli.main(["report", "."])


def test_interrupt_is_one_line_and_exit_code_130(tmp_path, capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("so101_robobase.experiments.report_command.run", interrupted)
    assert cli.main(["report", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "so101_robobase: interrupted\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_every_signal_ends_a_command_tidily(tmp_path, capsys, monkeypatch, name):
    number, closed = getattr(signal, name), []

    def works(args):
        try:
            signal.raise_signal(number)
        finally:
            closed.append(True)

    monkeypatch.setattr("so101_robobase.experiments.report_command.run", works)
    assert cli.main(["report", str(tmp_path)]) == 128 + number
    assert closed


def test_module_and_console_script_are_one_command():
    done = subprocess.run(
        [sys.executable, "-m", "so101_robobase", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("so101_robobase ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [
        ["so101_robobase", "--help"],
        ["so101_robobase", "evaluate", "--help"],
        ["so101_robobase", "runs", "compare", "."],
        ["so101_robobase.robot.emulator", "--help"],
        ["robobase.train", "--help"],
    ],
    ids=" ".join,
)
def test_without_a_reader_there_is_no_traceback(words, unbuffered, tmp_path):
    for number in range(200):
        run = tmp_path / f"run_{number}"
        run.mkdir()
        header = "env_steps,total_time,episode_success,episode_reward"
        (run / "eval.csv").write_text(f"{header}\n0,1,0,1\n")
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # sooner than any line
    assert process.stderr.read() == ""
    # Without a buffer, newer Pythons' argparse takes no notice of help that nobody reads.
    unnoticed = unbuffered and "--help" in words
    assert process.wait(timeout=120) in ((0, 141) if unnoticed else (141,))


def test_a_home_that_cannot_be_written_is_no_matter():
    code = "import so101_robobase.training.curves as curves; assert curves.FigureCanvasAgg"
    home = {"HOME": "/proc/nowhere", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "", "LC_ALL": "C"}
    env = {key: value for key, value in os.environ.items() if key != "MPLCONFIGDIR"} | home
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
