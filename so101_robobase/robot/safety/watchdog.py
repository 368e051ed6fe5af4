"""Turns torque off when the loop dies, be it by SIGKILL: a small process beside it.

The loop starts one with `WatchdogProcess` and tells it at every tick that it lives. Run as a
script, by its path, so that it starts without the rest of this package: pyserial is all it needs.
"""

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serial import Serial

TIMEOUT = 0.3
"""s without a sign of life from the loop."""

CONNECTING = 5.0
"""s for the loop to connect the arm."""

DISMISSED, RELEASED, GAVE_UP, TAKEN_OVER = 0, 3, 4, 5
"""Exit codes: not needed; all torque is off; not confirmed; another process claimed the port."""

_BEAT, _GOODBYE, _READY, _FIRED = b".", b"q", b"r", b"!"
_START = 30.0  # s, at most, until the process is ready
_END = 2.0  # s, at most, for it to heed a goodbye
_GIVE_UP = 60.0  # s
_PAUSE = 0.02  # s between two rounds
_ANSWER = 0.02  # s to wait for an answer
_BAUD_RATE = 1_000_000
_HEADER, _BROADCAST = b"\xff\xff", 0xFE
_READ, _WRITE, _SYNC_WRITE = 0x02, 0x03, 0x83
_TORQUE_ENABLE = 40
_STATUS = 7  # bytes of an answer with one byte of data


class WatchdogProcess:
    """The loop's side.

    Args:
        port: of the arm; opened only when torque has to be turned off.
        ids: of the servos.
        timeout: s after the last `beat`.
        log: file to which the process adds what it did; None: stderr alone.

    It guards against the end of this process from now on, and against standing still: for
    `CONNECTING` s before the first `beat`, for `timeout` s after each. Raises RuntimeError if it
    does not start.
    """

    def __init__(
        self, port: str, ids: Sequence[int], timeout: float = TIMEOUT, log: Path | None = None
    ):
        command = [sys.executable, "-P", __file__, "--port", port, "--timeout", str(timeout)]
        command += ["--ids", *map(str, ids)]
        if log is not None:
            command += ["--log", str(log)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._beats, self._signs = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._fired = False
        ready, _, _ = select.select([self._signs], [], [], _START)
        if not ready or os.read(self._signs, 1) != _READY:
            self._process.kill()
            self._end()
            raise RuntimeError("the watchdog process did not start")
        os.set_blocking(self._beats, False)
        os.set_blocking(self._signs, False)

    @property
    def fired(self) -> bool:
        """Whether it has turned torque off, or is at it."""
        if not self._fired and not self._process.stdout.closed:  # type: ignore[union-attr]
            with contextlib.suppress(BlockingIOError):
                self._fired = os.read(self._signs, 1) == _FIRED
        return self._fired

    def beat(self) -> None:
        """The loop lives; never raises, never waits."""
        with contextlib.suppress(OSError):  # it has ended, or the pipe is full
            os.write(self._beats, _BEAT)

    def dismiss(self) -> None:
        """End it without a word to the servos, unless it has fired. May be repeated."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            os.write(self._beats, _GOODBYE)
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._fired = self.fired
        self._end()

    def abandon(self) -> None:
        """Leave the servos to it: it turns torque off, going on after this process if need be."""
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()
            self._beats = -1

    def _end(self) -> None:
        self._beats = -1
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


class Releaser:
    """Turns torque off in servos, at any time, whatever state port and servos are in."""

    def __init__(self, port: str, ids: Sequence[int], log: "Log"):
        self.port, self.pending = port, list(ids)
        self._log = log
        self._serial: Serial | None = None
        self._problem = ""

    def round(self) -> bool:
        """Tell all servos and ask each; whether all have confirmed by now."""
        import serial

        try:
            if self._serial is None:
                self._serial = serial.Serial(self.port, _BAUD_RATE, timeout=0, write_timeout=0.1)
            self._tell(_sync_off(self.pending))
            for id_ in list(self.pending):
                if self._is_off(id_):
                    self.pending.remove(id_)
                    self._log(f"servo {id_}: torque off")
                else:
                    self._tell(_packet(id_, _WRITE, bytes([_TORQUE_ENABLE, 0])))
        except Exception as error:  # whatever it is: go on trying
            self._note(str(error))
            self.close()
        return not self.pending

    def close(self) -> None:
        """Free the port; may be repeated."""
        opened, self._serial = self._serial, None
        try:
            if opened is not None:
                opened.close()
        except Exception as error:
            self._note(str(error))

    def _tell(self, packet: bytes) -> None:
        assert self._serial is not None
        self._serial.write(packet)

    def _is_off(self, id_: int) -> bool:
        """Whether the servo says so within `_ANSWER`."""
        assert self._serial is not None
        time.sleep(0.001)  # answers to what was told
        self._serial.reset_input_buffer()
        self._tell(_packet(id_, _READ, bytes([_TORQUE_ENABLE, 1])))
        answer, ends = b"", time.monotonic() + _ANSWER
        while (left := ends - time.monotonic()) > 0:
            select.select([self._serial], [], [], left)
            answer += self._serial.read(256)
            if (torque := _answered(answer, id_)) is not None:
                return torque == 0
        return False

    def _note(self, problem: str) -> None:
        if problem != self._problem:  # not the same line at every round
            self._log(problem)
        self._problem = problem


class Log:
    """Lines with UTC and the monotonic clock, as the loop's events have them."""

    def __init__(self, path: Path | None):
        self._path = path

    def __call__(self, text: str) -> None:
        """Write one line; never raises."""
        utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        line = f"{utc}Z {time.monotonic():.4f} watchdog: {text}\n"
        try:
            if self._path is None:
                sys.stderr.write(line)
                sys.stderr.flush()
            else:
                with open(self._path, "a") as file:
                    file.write(line)
        except OSError:
            pass


def guard(timeout: float) -> str | None:
    """Wait on stdin for the loop to die; how it did, or None where it said goodbye."""
    patience = max(timeout, CONNECTING)  # until the first beat
    while True:
        ready, _, _ = select.select([0], [], [], patience)
        if not ready:
            return f"no sign of life for {patience} s"
        signs = os.read(0, 4096)
        if _GOODBYE in signs:
            return None
        if not signs:
            return "the loop's process has ended"
        patience = timeout


def release(port: str, ids: Sequence[int], log: Log, give_up: float = _GIVE_UP) -> int:
    """Turn torque off, again and again until every servo confirms it; the exit code."""
    releaser = Releaser(port, ids, log)
    ends = time.monotonic() + give_up
    while not releaser.round():
        if time.monotonic() > ends:
            log(f"gave up: servos {releaser.pending} did not confirm; switch the power off")
            return GAVE_UP
        if _is_claimed(port) and _loop_is_dead():
            log(f"another process uses {port}; left servos {releaser.pending} to it")
            return TAKEN_OVER
        time.sleep(_PAUSE)
    releaser.close()
    log("torque is off in all servos")
    return RELEASED


def main() -> int:
    """The watchdog's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--ids", type=int, nargs="+", required=True)
    parser.add_argument("--timeout", type=float, default=TIMEOUT)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--give_up", type=float, default=_GIVE_UP)
    args = parser.parse_args()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    import serial  # noqa: F401  # now, not when it is urgent

    log = Log(args.log)
    os.write(1, _READY)
    reason = guard(args.timeout)
    if reason is None:
        return DISMISSED
    log(f"{reason}: turning torque off on {args.port}")
    with contextlib.suppress(OSError):
        os.write(1, _FIRED)
    return release(args.port, args.ids, log, args.give_up)


def _is_claimed(port: str) -> bool:
    """Whether a process has locked the port, as `ports.PortLock` does."""
    import fcntl

    try:
        file = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _loop_is_dead() -> bool:
    """Whether the other end of stdin is closed."""
    while select.select([0], [], [], 0)[0]:
        if not os.read(0, 4096):
            return True
    return False


def _packet(id_: int, instruction: int, parameters: bytes) -> bytes:
    """An instruction packet of Feetech's protocol."""
    body = bytes([id_, len(parameters) + 2, instruction]) + parameters
    return _HEADER + body + bytes([~sum(body) & 0xFF])


def _sync_off(ids: Sequence[int]) -> bytes:
    """Torque off in several servos at once, without answers."""
    pairs = b"".join(bytes([id_, 0]) for id_ in ids)
    return _packet(_BROADCAST, _SYNC_WRITE, bytes([_TORQUE_ENABLE, 1]) + pairs)


def _answered(data: bytes, id_: int) -> int | None:
    """The byte that servo `id_` answered, if a whole and sound answer of one is in `data`."""
    for start in range(len(data) - _STATUS + 1):
        answer = data[start : start + _STATUS]
        if answer[:4] == _HEADER + bytes([id_, 3]) and ~sum(answer[2:6]) & 0xFF == answer[6]:
            return answer[5]
    return None


if __name__ == "__main__":
    sys.exit(main())
