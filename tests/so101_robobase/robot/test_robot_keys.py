"""Single keys from a terminal: a pseudo-terminal whose other end the test has."""

import os
import sys
import termios
from pathlib import Path

import pytest
from terminal_session import TerminalSession

from so101_robobase.robot.person.keys import ESCAPE, has_keys, no_keys, terminal_keys

READER = """
import sys, time
from so101_robobase.robot.person.keys import terminal_keys
with terminal_keys() as keys:
    print("ready", flush=True)
    while True:
        key = keys()
        if key is not None:
            print("<" + repr(key) + ">", flush=True)
            if key == "q":
                break
            if key == "x":
                raise SystemExit(7)
            if key == "w":  # too busy to look at keys
                time.sleep(0.3)
        time.sleep(0.01)
"""


@pytest.fixture
def reader():
    with TerminalSession([sys.executable, "-c", READER]) as session:
        session.expect("ready")
        yield session


def test_keys_come_one_by_one_without_enter_or_echo(reader):
    reader.press("s")
    reader.expect("<'s'>")
    reader.press(" r")
    reader.expect("<' '>\n<'r'>")
    reader.press("q")
    assert reader.wait() == 0
    assert reader.text.count("s") == 1  # the terminal shows nothing by itself
    assert reader.is_as_before


@pytest.mark.parametrize(
    "sequence", ["\x1b[A", "\x1bOP", "\x1b[3~", "\x1b[1;5C", "\x1b[A\x1b[B"], ids=repr
)
def test_keys_of_several_characters_are_swallowed(reader, sequence):
    reader.press("w")
    reader.expect("<'w'>")
    reader.press("f" + sequence + "s")
    reader.expect("<'f'>\n<'s'>")
    assert repr(ESCAPE) not in reader.text


@pytest.mark.parametrize(
    "pressed", ["\x1b", "\x1b\x1b", "s\x1b", "\x1bq", "ss\x1b[A\x1b"], ids=repr
)
def test_escape_is_never_missed_and_comes_first(reader, pressed):
    reader.press("w")
    reader.expect("<'w'>")
    reader.press(pressed)
    reader.expect(r"<'(.*)'>")
    assert reader.text.splitlines()[-1] == f"<{ESCAPE!r}>"


@pytest.mark.parametrize(("key", "code"), [("x", 7), ("\x03", 130)], ids=["error", "Ctrl-C"])
def test_the_terminal_is_put_back_whatever_happens(reader, key, code):
    assert not reader.is_as_before
    reader.press(key)
    assert reader.wait() in (code, -2)
    assert reader.is_as_before


def test_a_terminal_that_goes_away_counts_as_escape(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r") as stream:
        monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp())
        with terminal_keys(stream) as keys:
            assert keys() is None
            os.close(ours)
            assert keys() == ESCAPE


def test_a_terminal_of_others_is_left_alone():
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    with os.fdopen(theirs, "r") as stream:
        assert not has_keys(stream)
        with terminal_keys(stream) as keys:
            assert keys is no_keys
            assert termios.tcgetattr(theirs) == before
    os.close(ours)


BACKGROUND = """
import os, subprocess, sys
inner = "from so101_robobase.robot.person.keys import *\\n"
inner += "with terminal_keys() as k: print(k is no_keys)"
print(subprocess.run([sys.executable, "-c", inner], process_group=0, timeout=60).returncode)
"""


def test_in_the_background_it_is_not_suspended():
    with TerminalSession([sys.executable, "-c", BACKGROUND]) as session:
        session.expect("True\n0\n")
        assert session.wait() == 0


def test_a_file_and_no_input_at_all_have_no_keys(tmp_path, monkeypatch):
    path = Path(tmp_path / "typed")
    path.write_text("sss")
    with open(path) as stream, terminal_keys(stream) as keys:
        assert keys() is None
    monkeypatch.setattr(sys, "stdin", None)
    assert not has_keys()
    with terminal_keys() as keys:
        assert keys() is None
