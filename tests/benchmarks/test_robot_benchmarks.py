"""What the benchmarks of the robot say of rollouts that are known, and that they run."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError

pytest.importorskip("lerobot")

import robot_faults
import robot_success
from _audit import Call, Findings, Read, Truth, Witness
from _fault_plan import ALL, AT_CONNECT, plan
from _fault_trials import Report, finish, holds, is_about_it
from _robot import POLICY, KeptStream
from _trouble import Course, Torque, longest
from robot_faults import remarks, rows
from robot_success import Score

from so101_robobase.robot.emulator.faults import KINDS
from so101_robobase.robot.emulator.shared import EVENT, LIMP
from so101_robobase.robot.loop.driver import Reading
from so101_robobase.robot.loop.ticker import Timing
from so101_robobase.robot.person.arm_arguments import SIM


def load(name):
    """A benchmark whose name a module of the tests has too."""
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{name}", Path(robot_faults.__file__).with_name(f"{name}.py")
    )
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


robot_ticks = load("robot_ticks")
HERE = np.zeros(6)
ALL_LIMP = np.ones(6, bool)


def torque(*switches):
    """Servos get (0) or lose (1) torque: (time, joint, value); at 10 s all get it."""
    on = [(10.0, LIMP, joint, 0, 0.0) for joint in range(6)]
    rows = [*on, *((time, LIMP, joint, value, 0.0) for time, joint, value in switches)]
    return Torque(np.array(rows, EVENT), ALL_LIMP)


def off(time):
    return [(time, joint, 1) for joint in range(6)]


def rollout(times, torque, stopped=None, held=(), released=20.0, reachable=-np.inf):
    """Readings at `times`, then a release."""
    witness = Witness(None, None)
    look = Truth(0.0, HERE)
    witness.reads = [Read(look, look, Reading(time, HERE)) for time in times]
    witness.releases = [Call(Truth(released, HERE), Truth(released, HERE))]
    return Course(witness, torque, held, stopped, reachable)


def ticks(start, end):
    return np.arange(start, end, 0.02).tolist()


def test_a_missed_answer_is_trouble_until_the_next():
    calm = [*ticks(10, 12), *ticks(12.07, 14)]
    seen = rollout(calm, torque(*off(14.0)), released=14.0)
    assert longest(seen, 11.99) == pytest.approx(0.08, abs=0.001)
    assert longest(seen, 13.0) == pytest.approx(0.02, abs=0.001)


def test_a_stop_is_trouble_until_torque_is_off_everywhere():
    last_off = [*off(12.05)[:5], (12.15, 5, 1)]
    seen = rollout(ticks(10, 12), torque(*last_off), stopped=12.04)
    assert longest(seen, 11.0) == pytest.approx(0.17, abs=0.001)
    assert longest(seen, 12.0) == pytest.approx(0.15, abs=0.001)


def test_a_servo_without_torque_is_trouble_though_the_loop_goes_on():
    limp = [(12.0, 2, 1), (12.5, 2, 0)]
    seen = rollout(ticks(10, 14), torque(*limp, *off(14.0)), released=14.0)
    assert longest(seen, 12.0) == pytest.approx(0.5, abs=0.021)


def test_a_hold_and_a_lasting_complaint_are_trouble():
    through = torque(*off(14.0))
    seen = rollout(ticks(10, 14), through, held=[(12.0, 12.3)], released=14.0)
    assert longest(seen, 11.99) == pytest.approx(0.31, abs=0.021)
    seen = rollout(ticks(10, 14), through, released=14.0)
    assert longest(seen, 12.0, active=(12.0, 12.4)) == pytest.approx(0.4, abs=0.021)


def test_torque_that_stays_on_is_trouble_for_ever_and_none_is_none():
    seen = rollout(ticks(10, 12), torque(), stopped=12.0)
    assert longest(seen, 11.0) == np.inf
    never = Torque(np.zeros(0, EVENT), ALL_LIMP)
    assert longest(rollout([], never, stopped=12.0), 11.0) == 0


def test_servos_that_cannot_be_reached_count_from_when_they_can():
    seen = rollout(ticks(10, 12), torque(*off(15.1)), stopped=12.05, reachable=15.0)
    assert longest(seen, 12.0) == pytest.approx(0.1)


def test_a_plan_has_every_kind_equally_often_and_is_the_same_again():
    planned = plan(500, 1)
    counts = Counter(one.kind for one in planned)
    assert set(counts) == set(ALL)
    assert counts["SIGKILL"] == counts["SIGSTOP"] == 10
    assert max(counts[kind] for kind in KINDS) - min(counts[kind] for kind in KINDS) <= 1
    assert planned == plan(500, 1)
    assert [one.kind for one in planned] != [one.kind for one in plan(500, 2)]
    assert all(one.connecting for one in planned if one.kind in AT_CONNECT)


def test_the_table_counts_outcomes_and_breaches():
    reports = [
        Report(0, "drop", "recovered", 0.06, findings=Findings(commands=50)),
        Report(1, "drop", "stopped", 0.31, findings=Findings(commands=7, fast=1)),
        Report(2, "drop", logged=True),
        Report(3, "SIGKILL", "stopped", np.inf, logged=False),
    ]
    for report, is_off in zip(reports, (True, True, True, False), strict=True):
        finish(report, is_off)
    drop, kill, total = rows(reports)
    assert drop == ["drop", "3", "2", "1", "1", "0", "57", "1", "0", "310", "200", "1", "0", "0"]
    assert kill[1:5] == ["1", "1", "0", "1"]
    assert kill[-4:] == ["500", "1", "1", "1"]
    assert total[1] == "**4**"
    said = remarks(reports)
    assert "0001 drop (stopped): trouble for 0.31 s; fast: 1 commands" in said
    assert "0000" not in said


def test_the_log_is_read_for_holds_and_for_what_is_amiss():
    log = [{"time": time, "kind": kind} for time, kind in ((1, "hold"), (2, "go"), (3, "hold"))]
    assert holds(log) == [(1, 2), (3, np.inf)]
    assert is_about_it({"kind": "read_failed"}, "drop")
    assert is_about_it({"kind": "released", "unconfirmed": ["gripper"]}, "drop")
    assert not is_about_it({"kind": "released", "unconfirmed": []}, "drop")
    assert not is_about_it({"kind": "limited", "reasons": ["step"]}, "drop")
    assert is_about_it({"kind": "limited", "reasons": ["measured position jumped"]}, "drop")
    assert is_about_it({"kind": "same_frame"}, "camera hangs")
    assert not is_about_it({"kind": "same_frame"}, "drop")


def test_ticks_are_good_where_the_99th_percentile_is():
    periods = [0.04] * 999 + [0.2]
    assert robot_ticks.goal(periods, 0.04) == "p99 ≤ 48: yes"
    assert robot_ticks.goal([0.04] * 98 + [0.05] * 2, 0.04) == "p99 ≤ 48: no"
    assert robot_ticks.goal([], 0.04).endswith("no")
    row = robot_ticks.Row("simulator's", 0.04, timings=[timing(2, 5.0), timing(1, 7.0)])
    row.policing.periods = periods
    cells = robot_ticks.cells(row)
    assert len(cells) == len(robot_ticks.HEADER)
    assert cells[1:4] == ["20", "3", "1.0, 7.0, 9.0"]


def timing(missed, late_p99):
    return Timing(10, missed, 1.0, late_p99, 9.0, 1.0, 2.0, 3.0, 21.0)


def test_success_on_the_robot_is_held_against_the_evaluation():
    plain = Score(45, 50)
    assert robot_success.cells("a", "sim", Score(43, 50), plain)[-1] == "≥ 85%: yes"
    assert robot_success.cells("a", "sim", Score(42, 50), plain)[-1] == "≥ 85%: no"
    assert robot_success.cells("a", "evaluation", plain)[-1] == "–"


def test_the_shipped_policy_lifts_the_first_cube_on_the_simulated_robot(tmp_path):
    args = robot_success.parse([str(POLICY), "--episodes", "1"])
    assert robot_success.roll_out(args, SIM, [], tmp_path) == Score(1, 1)


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (robot_faults.parse, ["--faults", "0"]),
        (robot_ticks.parse, ["--ticks", "0"]),
        (robot_success.parse, [str(POLICY), "--episodes", "0"]),
    ],
)
def test_mistaken_numbers_are_the_users(parse, words):
    with pytest.raises(UserError, match="1 or more"):
        parse(words)


def test_a_kept_sight_is_opened_once_and_anew_after_a_failure():
    class Once:
        failing = False

        def start(self):
            opened.append(self)

        def latest(self):
            if self.failing:
                raise UserError("gone")

        def close(self):
            closed.append(self)

    opened, closed = [], []
    sight = KeptStream(Once)
    for _ in range(2):
        sight.start()
        sight.latest()
        sight.close()
    assert len(opened) == 1
    assert not closed
    opened[0].failing = True
    with pytest.raises(UserError):
        sight.latest()
    sight.close()
    assert closed == opened
    sight.start()
    assert len(opened) == 2


@pytest.mark.slow
def test_faults_run_from_the_command_line(tmp_path, capsys):
    robot_faults.main(["--faults", "50", "--seed", "3", "--output", str(tmp_path)])
    assert "| **50** |" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert len(lines) == 50
    found = [line["findings"] for line in lines]
    assert sum(one["stray"] + one["outside"] + one["fast"] + one["low"] for one in found) == 0
    assert sum(one["stale"] for one in found) == 0
    assert sum(one["goals"] for one in found) > 1000


@pytest.mark.slow
def test_ticks_run_from_the_command_line(capsys):
    robot_ticks.main(["--ticks", "300"])
    row = capsys.readouterr().out.splitlines()[4]
    assert row.startswith("| simulator's | 3")
    assert row.count("| 0 | 0 |") == 1
