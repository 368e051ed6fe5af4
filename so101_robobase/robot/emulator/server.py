"""The emulator process: one loop over port, control line and simulated time."""

import heapq
import os
import selectors
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.bus import Bus
from so101_robobase.robot.emulator.control_socket import SOCKET_FILE, ControlServer, Request
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Faults
from so101_robobase.robot.emulator.port import Port, check_free
from so101_robobase.robot.emulator.protocol import Packet, Parser
from so101_robobase.robot.emulator.schedule import make_fault
from so101_robobase.robot.emulator.shared import CONFIG_FILE, STATE, EventWriter, StateWriter
from so101_robobase.robot.emulator.world import World
from so101_robobase.robot.person.hints import MARKER

_PATIENCE = 0.02  # s without a byte, after which a packet that has begun is given up


class Server:
    """An emulated arm whose port is at `link` and whose other files are in `folder`."""

    def __init__(self, config: EmulatorConfig, link: Path, folder: Path):
        check_free(link)  # before the scene, which takes seconds
        self.faults = Faults(config.seed)
        events = EventWriter(folder)
        self._world = World(config, self.faults, events)
        self._bus = Bus(self._world.servos, self.faults, config.timing)
        self._parser, self._packets = Parser(), 0
        self._heard = 0.0  # s, when the last byte came
        self._outgoing: list[tuple[float, int, bytes]] = []  # heap of (time, order, bytes)
        self._sent = 0
        self._state, self._shared = np.zeros(1, STATE), StateWriter(folder)
        # Not epoll: its waits are whole milliseconds.
        self._selector = selectors.SelectSelector()
        self._port = Port(link)
        (folder / CONFIG_FILE).write_text(config.to_json())
        self._marker = Path(f"{link}{MARKER}")
        self._marker.unlink(missing_ok=True)  # of one that was killed
        self._marker.symlink_to(folder)
        self._selector.register(self._port, selectors.EVENT_READ, self._receive)
        self._control = ControlServer(
            folder / SOCKET_FILE,
            self._selector,
            {
                "inject": self._inject,
                "clear": self._clear,
                "faults": lambda _: {"faults": self.faults.report()},
                "place_cube": lambda request: self._place(self._world.place_cube, request),
                "begin": lambda request: self._place(self._world.begin, request),
                "hand": self._guide,
                "release_hand": lambda _: self._release_hand(),
                "quit": lambda _: self._quit(),
            },
        )
        self._running = True
        self._world.start(time.monotonic())
        for fault in config.faults:
            self.faults.inject(fault, time.monotonic())
        self._publish()

    @property
    def calibration(self) -> dict[str, dict[str, int]]:
        """LeRobot's calibration of this arm."""
        return self._world.calibration.as_lerobot()

    def watch_parent(self) -> None:
        """Stop when stdin ends: a parent that dies, however, closes it."""
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._hear_parent)

    def run(self) -> None:
        """Until told to quit."""
        parent = os.getppid()
        try:
            while self._running and os.getppid() == parent:
                self._turn()
        finally:
            self._control.close()
            self._port.unplug()
            self._marker.unlink(missing_ok=True)

    def stop(self) -> None:
        """Leave `run` soon; for signal handlers."""
        self._running = False

    def _turn(self) -> None:
        due = [self._world.next] + ([self._outgoing[0][0]] if self._outgoing else [])
        ready = self._selector.select(max(0.0, min(due) - time.monotonic()))
        now = time.monotonic()
        self._world.advance(now)
        self._plug()
        for key, _ in ready:
            key.data()
        if self._parser.waiting and now - self._heard > _PATIENCE:
            self._obey(self._parser.skip())
        self._publish()  # first: whoever has an answer finds its effect in the state
        self._transmit()

    def _receive(self) -> None:
        if not self._port.plugged:
            return
        data = self._port.read()
        self._heard = time.monotonic()
        self._obey(self._parser.feed(data))

    def _obey(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._packets += 1
            answers = self._bus.handle(packet, time.monotonic(), self._port.baud_rate)
            self._world.after_packet()
            for answer in answers:
                heapq.heappush(self._outgoing, (answer.time, self._sent, answer.data))
                self._sent += 1

    def _transmit(self) -> None:
        while self._outgoing and self._outgoing[0][0] <= time.monotonic():
            self._port.write(heapq.heappop(self._outgoing)[2])

    def _plug(self) -> None:
        if self.faults.unplugged and self._port.plugged:
            self._selector.unregister(self._port)
            self._port.unplug()
            self._outgoing.clear()
            self._parser.reset()
        elif not self.faults.unplugged and not self._port.plugged:
            self._port.plug()
            self._selector.register(self._port, selectors.EVENT_READ, self._receive)

    def _publish(self) -> None:
        self._world.show(self._state)
        self._state["plugged"] = self._port.plugged
        self._state["packets"], self._state["rejected"] = self._packets, self._parser.rejected
        self._shared.write(self._state)

    def _inject(self, request: Request) -> dict[str, Any]:
        faults = [make_fault(entry) for entry in request["faults"]]
        now = time.monotonic()
        numbers = [self.faults.inject(fault, now) for fault in faults]
        self._take_effect()
        return {"numbers": numbers}

    def _clear(self, request: Request) -> dict[str, Any]:
        self.faults.clear(request.get("number"))
        self._take_effect()
        return {}

    def _take_effect(self) -> None:
        """Before the reply, so that whoever asked can rely on it."""
        self._world.advance(time.monotonic())
        self._plug()
        self._publish()

    def _place(self, place: Any, request: Request) -> dict[str, Any]:
        seed = request.get("seed")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed={seed!r} must be a whole number, 0 or more")
        place(seed)
        self._publish()
        return {}

    def _guide(self, request: Request) -> dict[str, Any]:
        goals = {JOINTS.index(name): float(angle) for name, angle in request["goals"].items()}
        seconds = float(request["seconds"])
        if not 0.01 <= seconds <= 600 or not np.isfinite(list(goals.values())).all():
            raise ValueError(f"goals={request['goals']} and seconds={seconds} must be finite")
        self._world.guide(goals, seconds)
        return {}

    def _release_hand(self) -> dict[str, Any]:
        self._world.hand.release()
        return {}

    def _quit(self) -> dict[str, Any]:
        self._running = False
        return {}

    def _hear_parent(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            self._running = False
