"""`python -m so101_robobase.robot.emulator LINK FOLDER`: what `client.EmulatedBus` starts.

Reads `EmulatorConfig` as one line of JSON from stdin, writes one line of JSON to stdout when ready
({"calibration": ...} or {"error": ...}), and stops when stdin ends.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from robobase import console, signals
from robobase.errors import UserError


def main() -> int:
    """Run one emulator; returns the exit code."""
    args = _arguments()
    from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
    from so101_robobase.robot.emulator.server import Server

    signals.leave_to_parent()  # which ends stdin, or, before that is watched, this:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        # Not through sys.stdin, which would read ahead of the watch.
        config = EmulatorConfig.from_json(_first_line(0))
        server = Server(config, args.link, args.folder)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.watch_parent()
    print(json.dumps({"calibration": server.calibration}), flush=True)
    server.run()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m so101_robobase.robot.emulator",
        description="An emulated arm for a program, with its settings on stdin; for people there "
        "is `so101_robobase robot emulator`.",
    )
    parser.add_argument("link", type=Path, help="path of the serial port to make")
    parser.add_argument("folder", type=Path, help="for the sockets and files that it is reached by")
    return parser.parse_args()


def _first_line(file: int) -> str:
    with open(file, "rb", buffering=0, closefd=False) as stream:
        return stream.readline().decode()


if __name__ == "__main__":
    sys.exit(console.run_until_left(main))
