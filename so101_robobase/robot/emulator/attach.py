"""To an emulator that somebody else has started: by the path of its port."""

from pathlib import Path
from typing import Any

from robobase.errors import UserError
from so101_robobase.base.closing import Closing
from so101_robobase.robot.emulator.control_socket import SOCKET_FILE, ControlClient
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.shared import CONFIG_FILE, BusState, StateReader
from so101_robobase.robot.person.hints import MARKER


class Emulator(Closing):
    """The emulator whose port is at `link`. Raises UserError where there is none.

    Attributes:
        config: what it was started with.
    """

    def __init__(self, link: str | Path):
        folder = Path(f"{link}{MARKER}")
        try:
            self.config = EmulatorConfig.from_json((folder / CONFIG_FILE).read_text())
            self._state = StateReader(folder)
            self._control = ControlClient(folder / SOCKET_FILE)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no emulator is at {link}; start one with `so101_robobase robot emulator`"
            ) from error
        self._link = link

    def state(self) -> BusState:
        """The newest state."""
        return self._state.read()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The reply to one request. Raises UserError."""
        try:
            return self._control.ask(do, **request)
        except OSError as error:
            raise UserError(f"the emulator at {self._link} has ended") from error
        except ValueError as error:
            raise UserError(str(error)) from error

    def close(self) -> None:
        """Hang up."""
        self._control.close()
