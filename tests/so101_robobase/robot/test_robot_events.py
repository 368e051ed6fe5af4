"""The log of a rollout."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.safety.filter import Intervention


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_lines_of_json_with_times(tmp_path):
    before = time.monotonic()
    with EventLog(tmp_path / "a" / "events.jsonl") as log:
        log.add("hold", reason="joint state is 60 ms old")
        log.add("limited", reasons=(Intervention.STEP, Intervention.FLOOR))
        log.add("hold", reason="again")
    first, second, third = lines(tmp_path / "a" / "events.jsonl")
    assert before - 1e-3 <= first["time"] <= third["time"] <= time.monotonic() + 1e-3
    assert first["utc"].endswith("+00:00")
    assert (first["kind"], first["reason"]) == ("hold", "joint state is 60 ms old")
    assert second["reasons"] == ["step", "floor"]
    assert log.counts == {"hold": 2, "limited": 1}


def test_arrays_and_what_json_lacks_are_written(tmp_path):
    with EventLog(tmp_path / "events.jsonl") as log:
        log.add(
            "bad_action", action=np.array([np.nan, np.inf, 0.5]), ok=np.bool_(True), at=tmp_path
        )
    text = (tmp_path / "events.jsonl").read_text()
    event = json.loads(text, parse_constant=pytest.fail)  # called for NaN and Infinity
    assert event["action"] == ["nan", "inf", 0.5]
    assert event["ok"] is True
    assert event["at"] == str(tmp_path)


def test_an_event_is_on_disk_at_once(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; "
        "from so101_robobase.robot.loop.events import EventLog; "
        "log = EventLog(Path(sys.argv[1])); log.add('stop'); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "events.jsonl"
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == -9
    assert [event["kind"] for event in lines(path)] == ["stop"]


def test_a_log_goes_on_where_another_ended(tmp_path):
    for kind in ("first", "second"):
        with EventLog(tmp_path / "events.jsonl") as log:
            log.add(kind)
    assert [event["kind"] for event in lines(tmp_path / "events.jsonl")] == ["first", "second"]


def test_there_is_no_file_without_events(tmp_path):
    with EventLog(tmp_path / "events.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk here")
def test_a_full_disk_stops_nobody(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    with EventLog(tmp_path / "events.jsonl") as log:
        log.add("hold")
        log.add("stop")
    assert log.lost == 2
    assert log.counts == {"hold": 1, "stop": 1}


def test_without_a_path_events_stay_in_memory():
    log = EventLog()
    log.add("hold", reason="x")
    assert [event["kind"] for event in log.events] == ["hold"]
    log.close()
