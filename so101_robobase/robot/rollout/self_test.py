"""Before the first episode: every joint turns a little there and back, and is compared.

Seen: a joint that stays, turns the other way, too little or too much, moves another one as well.
Not seen: what its encoder says wrongly while motor and calibration agree, such as a constant offset
(0.3 rad change the weight that a servo bears in this pose by 4 % of its torque at most, as much as
friction does) or a joint whose directions are all turned round.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.loop.arm_loop import ArmLoop, Stop
from so101_robobase.robot.safety.filter import SafetyFilter

Array = NDArray[np.float64]

TURN = (*(0.12,) * (NUM_JOINTS - 1), 0.15)
"""rad that each joint turns, 7 degrees, the gripper 9."""

SIZE = 0.3
"""Share of `TURN` by which it may be more or less: 2 degrees, for backlash and sagging."""

ASIDE = 0.05
"""rad that another joint may move meanwhile, 3 degrees."""

_WAY = 15  # ticks from one end to the other, 0.3 s
_SETTLE = 12  # ticks after that: the slowest real servos follow 0.1 s late
_LEAST_ROOM = 0.02  # m above the floor


class Turn(NamedTuple):
    """What one joint did; rad."""

    joint: int
    told: float  # there; back is the same, negated
    there: Array  # (6,), by which the joints turned
    back: Array  # (6,)

    def wrong(self) -> str | None:
        """What is not as it should be, in words; None: nothing."""
        name = JOINTS[self.joint]
        for told, moved in ((self.told, self.there), (-self.told, self.back)):
            share = moved[self.joint] / told
            others = [j for j in range(NUM_JOINTS) if j != self.joint and abs(moved[j]) > ASIDE]
            also = "".join(f"; {JOINTS[j]} turned {_degrees(moved[j])}" for j in others)
            seen = f"{name} was told to turn {_degrees(told)} degrees and "
            if share < -SIZE:
                return (
                    f"{seen}turned {_degrees(moved[self.joint])}{also}: it turns the wrong way; "
                    "calibrate anew, then run `robot check`"
                )
            if share < SIZE:
                return f"{seen}stayed{also}: see whether it is free, its cable and its servo's id"
            if abs(share - 1) > SIZE:
                return (
                    f"{seen}turned {_degrees(moved[self.joint])}{also}: see whether it is free and "
                    "its horn is tight, then calibrate anew"
                )
            if others:
                return f"{seen}did{also}: see whether cables or servo ids are swapped"
        return None


def self_test(loop: ArmLoop, say: Callable[[str], object]) -> list[Turn]:
    """Turn every joint of the arm, which is at rest in free air, there and back; 7 s.

    Raises:
        Stop: a joint did not do what it was told, or anything else that ends work with an arm.
    """
    say("testing the joints one by one")
    turns = []
    for joint in range(NUM_JOINTS):
        turn = _turn(loop, joint)
        turns.append(turn)
        wrong = turn.wrong()
        if wrong is not None:
            loop.arm.events.add("self_test", joint=JOINTS[joint], wrong=wrong)
            raise Stop(f"the test of the joints: {wrong}")
    worst = max((abs(turn.there[turn.joint] / turn.told - 1), turn.joint) for turn in turns)
    loop.arm.events.add(
        "self_test", turned=[round(float(turn.there[turn.joint] / turn.told), 3) for turn in turns]
    )
    say(f"all six did as told; {JOINTS[worst[1]]} least, {worst[0]:.0%} off")
    return turns


def _turn(loop: ArmLoop, joint: int) -> Turn:
    begin = loop.arm.command
    told = _direction(loop.arm.safety, begin, joint) * TURN[joint]
    rest = loop.arm.joint_pos.copy()
    _go(loop, begin, joint, told)
    there = loop.arm.joint_pos.copy()
    moved = there - rest
    if abs(moved[joint] / told - 1) > SIZE:  # nothing is gained by moving it once more
        return Turn(joint, told, moved, told * np.eye(NUM_JOINTS)[joint])
    _go(loop, loop.arm.command, joint, -told)
    return Turn(joint, told, moved, loop.arm.joint_pos - there)


def _go(loop: ArmLoop, begin: Array, joint: int, told: float) -> None:
    """Turn one joint by `told` from `begin` (6,) and wait until it has settled; or raise Stop."""
    was = loop.arm.joint_pos[joint]
    for tick in range(1, _WAY + _SETTLE + 1):
        while not loop.tick():
            pass
        if (loop.arm.joint_pos[joint] - was) / told < -SIZE:
            return  # it goes the other way: far enough
        share = min(1.0, tick / _WAY)
        target = begin.copy()
        target[joint] += share * told
        loop.arm.send(target)


def _direction(safety: SafetyFilter, begin: Array, joint: int) -> float:
    """1 or -1: where `joint` keeps the limits and leaves more room below the arm."""

    def room(sign: float) -> float:
        pose = begin.copy()
        pose[joint] += sign * TURN[joint]
        inside = safety.lower[joint] <= pose[joint] <= safety.upper[joint]
        height = float(safety.clearance(pose).clearance)
        return height if inside and safety.violation(pose) == 0 else -np.inf

    up, down = room(1.0), room(-1.0)
    if max(up, down) < _LEAST_ROOM:
        raise Stop(
            f"the test of the joints: there is no room for {JOINTS[joint]} to turn "
            f"{_degrees(TURN[joint])} degrees; begin higher above the table"
        )
    return 1.0 if up >= down else -1.0


def _degrees(angle: float) -> str:
    return f"{np.rad2deg(angle):+.0f}"
