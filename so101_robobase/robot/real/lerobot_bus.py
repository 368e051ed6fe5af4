"""Questions to servos over LeRobot's motors bus, with answers that are known to belong to them.

The SDK below LeRobot's bus never empties its input buffer, so one late answer makes each later one
an old one, without a sign; and it drops the complaints of servos in sync reads. Here questions go
out on an empty input, and while an answer is missing, other questions ask for other numbers of
bytes: if it still comes, its length gives it away.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from termios import error as TermiosError  # raised by pyserial's flush; no OSError
from typing import Any

from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.extras import require_robot
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.real import ports
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.real.servo_registers import ServoSettings, ServoState

QUIET = 0.002
"""s without a byte after which a late answer is over."""

_SETTLED = 0.010  # s, for how long at most what comes unasked is thrown away
_POLL = 0.001  # s, for which the SDK waits for bytes instead of spinning
_LATEST = 2.0  # s, after which a missing answer will not come any more
_LENGTHS = 60  # numbers of bytes to choose from
_ID, _ERROR, _DATA, _OVERHEAD = 2, 4, 5, 6  # of a status packet


def uncalibrated(port: str) -> "LeRobotBus":
    """The bus of an SO-101 of which no calibration is known yet; positions are in counts."""
    motors = require_robot("lerobot.motors")
    feetech = require_robot("lerobot.motors.feetech")
    mode = motors.MotorNormMode.DEGREES
    named = {
        joint: motors.Motor(id_, "sts3215", mode) for joint, id_ in zip(JOINTS, IDS, strict=True)
    }
    return LeRobotBus(feetech.FeetechMotorsBus(port, named))


class LeRobotBus:
    """Wraps LeRobot's `FeetechMotorsBus`, which stays usable beside it.

    Args:
        timeout: s to wait for all answers to one question.

    Attributes:
        bus: LeRobot's.
        alarm_bits: id -> error bits of the newest answer.
        failures: questions that got no, or no proper, answer.
        retried: what was put right by asking again; whoever reads it empties it.
    """

    def __init__(self, bus: Any, timeout: float = 0.025):
        self.bus, self.timeout = bus, timeout
        self.alarm_bits: dict[int, int] = {}
        self.failures = 0
        self.retried: list[str] = []
        self._success = require_robot("scservo_sdk").COMM_SUCCESS
        self._lock: ports.PortLock | None = None
        self._missing: dict[int, float] = {}  # bytes asked for in vain -> when, s
        self._broken = False  # the port failed; open it anew before the next question
        self._unanswered = False  # what comes now is not wanted

    @property
    def is_open(self) -> bool:
        return self._lock is not None

    def open(self) -> None:
        """Lock and open the port; servos are not spoken to. Raises UserError."""
        self.close()
        self._lock = ports.PortLock(self.bus.port)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the port, whatever state it is in; may be repeated."""
        self._close_port()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            lock.release()

    def read(
        self, id_: int, address: int, length: int, attempts: int = 2, timeout: float | None = None
    ) -> bytes:
        """At least `length` bytes of one servo's memory. Raises DriverError."""

        def ask(wanted: int) -> int:
            return self.bus.packet_handler.readTx(self.bus.port_handler, id_, address, wanted)

        return self._asking(ask, [id_], length, attempts, timeout)[1][0]

    def read_all(
        self, ids: Sequence[int], address: int, length: int, attempts: int = 2
    ) -> tuple[float, list[bytes]]:
        """When the question was sent (s, monotonic), and at least `length` bytes of each servo.

        Raises DriverError.
        """
        ids = list(ids)

        def ask(wanted: int) -> int:
            return self.bus.packet_handler.syncReadTx(
                self.bus.port_handler, address, wanted, ids, len(ids)
            )

        return self._asking(ask, ids, length, attempts)

    def write(self, id_: int, address: int, data: bytes, timeout: float | None = None) -> None:
        """Write to one servo, which confirms it. Raises DriverError."""

        def tell() -> int:
            return self.bus.packet_handler.writeTxOnly(
                self.bus.port_handler, id_, address, len(data), list(data)
            )

        self._guarded(lambda: self._exchange(tell, [id_], 0, timeout))

    def sync_write(self, register: str, values: dict[str, int]) -> None:
        """Write a register of several motors, by name; none of them confirms it.

        Raises DriverError.
        """
        self._guarded(lambda: self.bus.sync_write(register, values, normalize=False))

    def settings(self, id_: int, attempts: int = 3) -> ServoSettings | None:
        """What one servo is and keeps; None where it does not answer."""
        try:
            return ServoSettings.parse(
                self.read(id_, ServoSettings.ADDRESS, ServoSettings.LENGTH, attempts)
            )
        except DriverError:
            return None

    def state(self, id_: int) -> ServoState:
        """How one servo is. Raises DriverError."""
        return ServoState.parse(self.read(id_, ServoState.ADDRESS, ServoState.LENGTH))

    @contextmanager
    def overhearing(self) -> Iterator[list[str]]:
        """While LeRobot's own calls talk to the servos: what goes wrong there, also to `retried`.

        LeRobot lets answers that nobody asked for pass in silence, and forgets failures in which
        it succeeds later.
        """
        handler = self.bus.packet_handler
        send, receive = handler.txPacket, handler.rxPacket
        questions = packets = 0
        failures: list[str] = []

        def overheard_send(port: Any, packet: list[int]) -> int:
            nonlocal questions
            questions += packet[_ID] in IDS  # nobody answers to a broadcast
            return int(send(port, packet))

        def overheard_receive(port: Any) -> tuple[list[int], int]:
            nonlocal packets
            packet, result = receive(port)
            packets += 1
            if result != self._success:
                failures.append(f"{'spoilt' if packet else 'no'} answer to LeRobot")
            return packet, result

        handler.txPacket, handler.rxPacket = overheard_send, overheard_receive
        try:
            yield failures
        finally:
            del handler.txPacket, handler.rxPacket
            self.retried += failures
            if packets > questions:
                self.retried.append(f"{packets - questions} answers that LeRobot had not asked for")

    def settle(self) -> None:
        """Throw away what has come or comes within `QUIET`. Raises DriverError."""
        self._guarded(self._settle)

    def _asking(
        self,
        ask: Callable[[int], int],
        ids: list[int],
        length: int,
        attempts: int,
        timeout: float | None = None,
    ) -> tuple[float, list[bytes]]:
        for left in reversed(range(attempts)):
            wanted = self._unmistakable(length)
            self._missing[wanted] = time.monotonic()
            exchange = partial(self._exchange, partial(ask, wanted), ids, wanted, timeout)
            try:
                result = self._guarded(exchange)
            except DriverError as error:
                if left == 0 or self._broken:
                    raise
                self.retried.append(str(error))
            else:
                del self._missing[wanted]
                return result
        raise ValueError(f"attempts={attempts} must be at least 1")

    def _unmistakable(self, length: int) -> int:
        """At least `length`: a number of bytes for which no answer is missing, or not lately."""
        forgotten = time.monotonic() - _LATEST

        def missing_since(number: int) -> float:
            return max(self._missing.get(number, 0.0), forgotten)

        return min(range(length, length + _LENGTHS), key=missing_since)

    def _exchange(
        self, send: Callable[[], int], ids: list[int], length: int, timeout: float | None
    ) -> tuple[float, list[bytes]]:
        """One question and its answers of exactly `length` bytes from `ids`, in order."""
        port = self.bus.port_handler
        if self._unanswered or port.ser.in_waiting:
            if not self._unanswered:
                self.retried.append("answers that nobody had asked for were thrown away")
            self._settle()
        self._unanswered = True
        sent = time.monotonic()
        if send() != self._success:
            raise DriverError("the question could not be sent")
        port.setPacketTimeoutMillis(1000 * (self.timeout if timeout is None else timeout))
        answers = []
        packet: list[int] = []
        for id_ in ids:
            packet = self._receive(id_, length, packet)
            self.alarm_bits[id_] = packet[_ERROR]
            answers.append(bytes(packet[_DATA:-1]))
        self._unanswered = False
        return sent, answers

    def _receive(self, id_: int, length: int, before: list[int]) -> list[int]:
        """`length` bytes from servo `id_`; late packets, and `before` again, are passed over."""
        while True:
            packet, result = self.bus.packet_handler.rxPacket(self.bus.port_handler)
            if result != self._success:
                how = "spoilt" if packet else "no"
                raise DriverError(f"{how} answer from {ports.name(id_)} (id {id_})")
            received = len(packet) - _OVERHEAD
            if packet[_ID] == id_ and received == length:
                return packet
            if packet == before:
                self.retried.append(f"the same answer twice from {ports.name(packet[_ID])}")
                continue
            if received == length or received not in self._missing:
                raise DriverError(
                    f"answer out of turn, of {received} bytes from id {packet[_ID]}, instead of "
                    f"{length} from {ports.name(id_)} (id {id_})"
                )

    def _guarded(self, use: Callable[[], Any]) -> Any:
        """Call `use` with the port open; what may go wrong there becomes DriverError."""
        if self._lock is None:
            raise DriverError("the port is closed")
        port = self.bus.port_handler
        port.is_using = False  # a call that was interrupted leaves it set
        try:
            if self._broken:
                self._open()
            return use()
        except DriverError:
            self.failures += 1
            raise
        except (OSError, TermiosError) as error:
            self.failures += 1
            self._broken = True
            self._close_port()
            raise DriverError(
                f"port {self.bus.port} failed: {' '.join(str(error).split())}"
            ) from error

    def _settle(self) -> None:
        serial = self.bus.port_handler.ser
        ends = time.monotonic() + _SETTLED
        while time.monotonic() < ends:
            serial.reset_input_buffer()
            time.sleep(QUIET)
            if not serial.in_waiting:
                break
        self._unanswered = False

    def _open(self) -> None:
        self.bus.connect(handshake=False)
        serial = self.bus.port_handler.ser
        serial.timeout = _POLL
        serial.write_timeout = self.timeout
        self._broken = False

    def _close_port(self) -> None:
        port = self.bus.port_handler
        try:
            if port.is_open:
                port.closePort()
        except (OSError, TermiosError):
            pass
        finally:
            port.is_open = port.is_using = False
