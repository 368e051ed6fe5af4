"""What a person is told to do with an arm: a real one has cables and a switch, others have not."""

from dataclasses import dataclass
from pathlib import Path

MARKER = ".emulator"
"""`<port>.emulator` leads to the folder of the emulator whose port that is."""


@dataclass(frozen=True)
class Words:
    """Parts of sentences; each may stand after a colon or "and"."""

    cut_power: str  # where nothing else takes torque away
    before_cut: str  # when an arm is held with torque on; empty: nothing to say
    restart: str  # servos that complain, or do not take what they are told
    supply: str  # servos that do not answer
    line: str  # answers that are lost
    hand: str  # how joints are moved without torque


REAL_ARM = Words(
    cut_power="switch the arm's power off",
    before_cut="hold the arm before you switch its power off",
    restart="switch the arm off and on",
    supply="check power supply and cables",
    line="check the servos' cables and plugs",
    hand="move the arm by hand",
)
EMULATED_ARM = Words(
    cut_power="nobody can be hurt, the emulated arm ends with its emulator",
    before_cut="",
    restart="end the fault, or start the emulator again",
    supply="see which of its faults are on, and whether the emulator still runs",
    line="see which of its faults are on, and give this machine less to do",
    hand="move it with `so101_robobase robot emulator hand`",
)
SIMULATED_ARM = Words(
    cut_power="nobody can be hurt, the simulated arm ends with this command",
    before_cut="",
    restart="start again",
    supply="start again",
    line="start again",
    hand="nobody moves a simulated arm",
)


def words_for(port: str | None) -> Words:
    """Those for the arm on serial port `port`, an emulator's or a real one's; None: simulated."""
    if port is None:
        return SIMULATED_ARM
    return EMULATED_ARM if Path(f"{port}{MARKER}").exists() else REAL_ARM
