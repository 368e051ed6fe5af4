"""Claims about what a run shows of its progress."""

from contextlib import closing

import pytest

from robobase import progress_bar
from robobase.progress_bar import ProgressBar


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    return now


def test_into_a_file_progress_is_a_line_now_and_then(clock, capsys):
    with closing(ProgressBar(10_000, 1_000)) as bar:
        bar.note(success="40%")
        for _ in range(70):
            clock[0] += 1
            bar.update(50)
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "1,500 of 10,000 steps (15%), 50 steps/s, 00:10 so far, 02:50 to go, success 40%"
    )
    assert second.startswith("4,500 of 10,000 steps (45%)")


def test_progress_that_is_switched_off_is_silent(clock, capfd):
    with closing(ProgressBar(100, 0, enabled=False)) as bar:
        clock[0] += 100
        bar.update(50)
    assert capfd.readouterr() == ("", "")
