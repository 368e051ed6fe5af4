"""Claims about output that goes into a file, or to nobody."""

import subprocess
import sys


def _reader_of_one_line(code: str) -> tuple[str, str, int]:
    """First line, stderr and exit code of `python -c code | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    return line, error, process.wait(timeout=60)


LINES = "for k in range(100_000): print('line', k)"


def test_without_a_reader_the_process_ends_without_a_traceback():
    code = f"from robobase.console import *\nwith stop_without_reader():\n    {LINES}"
    line, error, status = _reader_of_one_line(code)
    assert (line, error) == ("line 0\n", "")
    assert status == -13  # SIGPIPE, as of other programs


def test_whoever_handles_the_signal_can_end_in_order():
    code = (
        "import signal, sys\nfrom robobase.console import *\n"
        "signal.signal(signal.SIGHUP, lambda *_: sys.stderr.write('noted'))\n"
        f"with stop_without_reader():\n    {LINES}\n"
        "sys.stderr.write(', saved')"
    )
    assert _reader_of_one_line(code) == ("line 0\n", "noted, saved", 0)


def test_lines_arrive_when_they_are_printed():
    code = (
        "import time\nfrom robobase.console import *\nprint_lines_at_once()\n"
        "print('now')\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
