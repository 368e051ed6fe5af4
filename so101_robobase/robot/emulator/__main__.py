"""`python -m so101_robobase.robot.emulator LINK FOLDER`: what `client.EmulatedBus` starts.

Reads `EmulatorConfig` as one line of JSON from stdin, writes one line of JSON to stdout when ready
({"calibration": ...} or {"error": ...}), and stops when stdin ends.
"""

import json
import signal
import sys
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.robot.emulator.config import EmulatorConfig
from so101_robobase.robot.emulator.server import Server


def main(link: str, folder: str) -> int:
    """Run one emulator; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends stdin
    try:
        # Not through sys.stdin, which would read ahead of the watch.
        config = EmulatorConfig.from_json(_first_line(0))
        server = Server(config, Path(link), Path(folder))
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: server.stop())
    server.watch_parent()
    print(json.dumps({"calibration": server.calibration}), flush=True)
    server.run()
    return 0


def _first_line(file: int) -> str:
    with open(file, "rb", buffering=0, closefd=False) as stream:
        return stream.readline().decode()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
