"""A command in a terminal of its own, as a person has it before them."""

import contextlib
import os
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

_ON_TERMINAL = 'tty=$1; shift; exec "$@" <"$tty" >"$tty" 2>&1'  # which becomes the session's own


class TerminalSession:
    """Starts `command`; it and all that it leaves running in the terminal end with the block.

    Attributes:
        text: all that it has printed so far.
    """

    def __init__(self, command: Sequence[str]):
        self._master, self._slave = os.openpty()
        self._is_open = True
        self._before = self._settings()
        self.text, self._seen = "", 0
        self._process = subprocess.Popen(
            ["sh", "-c", _ON_TERMINAL, "sh", os.ttyname(self._slave), *command],
            start_new_session=True,
            # These tests may themselves run in the background, where shells ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal's settings are those that it began with."""
        return self._settings() == self._before

    def expect(self, pattern: str, seconds: float = 120.0) -> None:
        """Wait until it prints what matches `pattern`, after the last match."""
        ends = time.monotonic() + seconds
        while (found := re.search(pattern, self.text[self._seen :])) is None:
            assert time.monotonic() < ends, f"no {pattern!r} in: {self.text}"
            if self._process.poll() is not None and not self._read(0):
                raise AssertionError(f"ended without {pattern!r}: {self.text}")
            self._read(0.05)
        self._seen += found.end()

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal, as its window is closed."""
        if self._is_open:
            os.close(self._slave)
            os.close(self._master)
            self._is_open = False

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code."""
        ends = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < ends, f"does not end: {self.text}"
            self._read(0.05)
        while self._read(0):
            pass
        return self._process.returncode

    def __enter__(self) -> "TerminalSession":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.hang_up()

    def _settings(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def _read(self, seconds: float) -> bool:
        if not self._is_open:
            time.sleep(seconds)
            return False
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        self.text += os.read(self._master, 65536).decode(errors="replace").replace("\r\n", "\n")
        return True
