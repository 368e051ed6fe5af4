"""`so101_robobase doctor`: what this machine has, what is amiss, and what mends it."""

import argparse

EXAMPLE = "so101_robobase doctor"


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Prints a line per part; 1 where something keeps this project from working."""
    from so101_robobase.tools.doctor import State, examine

    marks = {State.OK: " ", State.HINT: "-", State.BAD: "!"}
    worst = State.OK
    for finding in examine():
        print(f"{marks[finding.state]} {finding.part:<21}{finding.text}")
        if finding.mend:
            print(f"  {'':<21}-> {finding.mend}")
        if finding.state is State.BAD or worst is State.OK:
            worst = finding.state
    ends = {
        State.OK: "all is well",
        State.HINT: "works; lines with - could be better",
        State.BAD: "lines with ! need mending",
    }
    print(ends[worst])
    return int(worst is State.BAD)
