"""What a person is told to do with an arm: a real one has cables and a switch, others have not."""

from dataclasses import dataclass
from pathlib import Path

MARKER = ".emulator"
"""`<port>.emulator` leads to the folder of the emulator whose port that is."""


@dataclass(frozen=True)
class OperatorHints:
    """Parts of sentences; each may stand after a colon or "and"."""

    cut_power: str  # where nothing else takes torque away
    before_cut: str  # when an arm is held with torque on; empty: nothing to say
    restart: str  # servos that complain, or do not take what they are told
    silent: str  # no servo answers
    line: str  # answers are lost
    slow: str  # answers come late
    supply: str  # a voltage that no servo of this kind is meant for
    hand: str  # how joints are moved without torque
    ready: str  # before an arm moves; followed by "press Enter"


REAL_ARM = OperatorHints(
    cut_power="switch the arm's power off",
    before_cut="hold the arm before you switch its power off",
    restart="free the joint, check cables and power supply, let it cool, then switch the arm off "
    "and on",
    silent="is the arm's power supply on, and is this the arm's port?",
    line="check cables and power",
    slow="set the adapter's latency_timer to 1 ms, use no USB hub",
    supply="check the power supply, its plug and whether it is meant for these servos",
    hand="move the arm by hand",
    ready="keep a hand on the power switch, and ",
)
_EMULATED = "see which of its faults are on, or start the emulator again"
EMULATED_ARM = OperatorHints(
    cut_power="nobody can be hurt, the emulated arm ends with its emulator",
    before_cut="",
    restart=_EMULATED,
    silent=f"it is an emulator's, which may have ended; {_EMULATED}",
    line=f"give this machine less to do, {_EMULATED}",
    slow="give this machine less to do",
    supply=_EMULATED,
    hand="move it with `so101_robobase robot emulator hand`",
    ready="",
)
SIMULATED_ARM = OperatorHints(
    cut_power="nobody can be hurt, the simulated arm ends with this command",
    before_cut="",
    restart="start again",
    silent="start again",
    line="start again",
    slow="start again",
    supply="start again",
    hand="nobody can move a simulated arm",
    ready="",
)


def hints_for(port: str | None) -> OperatorHints:
    """Those for the arm on serial port `port`, an emulator's or a real one's; None: simulated."""
    if port is None:
        return SIMULATED_ARM
    return EMULATED_ARM if Path(f"{port}{MARKER}").exists() else REAL_ARM
