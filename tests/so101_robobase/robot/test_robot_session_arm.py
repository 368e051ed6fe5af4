"""`so101_robobase robot rollout` with LeRobot's driver, in a terminal of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from terminal_session import TerminalSession
from tiny_snapshot import save_tiny_snapshot

from so101_robobase.arm.alignment import Alignment, save
from so101_robobase.base.cli import INTERRUPTED, USER_ERROR
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.emulator.servo_calibration import calibrate, write_calibration
from so101_robobase.robot.real.ports import PortLock
from so101_robobase.robot.rollout.rollout_session import CUT_SHORT
from so101_robobase.sim.scene import build_scene

pytest.importorskip("lerobot")

COMMAND_LINES = Path(__file__).with_name("command_lines.py")
CAMERA = ["--camera", "0", "--camera_size", "64x48"]  # of the stand-in for a device
SWAPPED = (2, 1, 3, 4, 5, 6)


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory):
    """Policies that act at random: of colours, and of class ids and disparity."""
    folder = tmp_path_factory.mktemp("snapshots")
    return {
        kind: save_tiny_snapshot(folder / kind, f"env.observation={kind}", "env.eval_stage=0")
        for kind in ("rgb", "seg_depth")
    }


@pytest.fixture(scope="module")
def busy_port():
    """A serial port that this process uses."""
    ours, theirs = os.openpty()
    claim = PortLock(os.ttyname(theirs))
    yield claim.port
    claim.release()
    os.close(theirs)
    os.close(ours)


REAL = {  # words, kind of policy, camera, part of the error line
    "wrong port": (["--port", "/dev/ttyNO"], "rgb", {}, "port /dev/ttyNO does not exist"),
    "no port": (["--port", "/dev/null"], "rgb", {}, "/dev/null is not a serial port"),
    "busy port": (["--port", "BUSY"], "rgb", {}, "is in use by"),
    "no calibration": (
        ["--calibration", "/nowhere/arm.json"],
        "rgb",
        {},
        "/nowhere/arm.json does not exist; give the file that lerobot-calibrate wrote",
    ),
    "another arm": (
        ["--calibration", "OTHER"],
        "rgb",
        {},
        "this is the calibration of another arm",
    ),
    "swapped ids": (
        ["--port", "SWAPPED"],
        "rgb",
        {},
        "the ids of shoulder_pan and shoulder_lift are swapped",
    ),
    "alignment of another arm": (
        ["--alignment", "ALIGNMENT"],
        "rgb",
        {},
        "was measured on the arm third",
    ),
    "no camera": (["--camera", "/dev/video99"], "rgb", {}, "camera /dev/video99 does not exist"),
    "dead camera": ([], "rgb", {"opens": False}, "camera 0 cannot be opened"),
    "slow camera": ([], "rgb", {"rate": 5.0}, "camera 0 is too slow: 5 frames a second"),
    "wrong size": (
        ["--camera_size", "640x480"],
        "rgb",
        {"fixed": {3: 320.0, 4: 240.0}},
        "camera 0 gives 320x240 pixels, not 640x480",
    ),
    "no segmentation": (
        [],
        "seg_depth",
        {},
        "name the network that finds them with --segmentation",
    ),
    "no depth": (["--segmentation", "."], "seg_depth", {}, "name a depth network or its folder"),
    "simulated depth": (
        ["--segmentation", ".", "--depth", "simulated"],
        "seg_depth",
        {},
        "--depth simulated is the simulator's, a camera has none; this policy",
    ),
    "no checkpoint": (
        ["--segmentation", "x.pt", "--depth", "y"],
        "seg_depth",
        {},
        "x.pt does not exist; give a best.pt",
    ),
}


@pytest.fixture(scope="module")
def said(emulated_bus, snapshots, busy_port, tmp_path_factory):
    """Name in `REAL` -> what the command said, and what reached the arm meanwhile."""
    folder = tmp_path_factory.mktemp("real")
    other = calibrate(build_scene().model.actuator_ctrlrange, arm=1).as_lerobot()
    write_calibration(other, folder / "other.json")
    save(Alignment(arm="third"), folder / "third.yaml")
    emulated_bus.clear()
    with EmulatedBus(EmulatorConfig(ids=SWAPPED)) as swapped:
        words = {
            "BUSY": busy_port,
            "OTHER": str(folder / "other.json"),
            "ALIGNMENT": str(folder / "third.yaml"),
            "SWAPPED": swapped.port,
        }
        calibration = str(emulated_bus.write_calibration(folder, "arm"))
        always = ["--yes", "--output_dir", str(folder / "out"), "--port", emulated_bus.port]
        always += ["--calibration", calibration, *CAMERA]
        jobs = [
            {
                "argv": ["robot", "rollout", str(snapshots[kind]), *always]
                + [words.get(word, word) for word in more],
                "camera": camera,
            }
            for more, kind, camera, _ in REAL.values()
        ]
        before = len(emulated_bus.events())
        results = in_terminal(jobs, folder)
        reached = emulated_bus.events()[before:]
    assert not (folder / "out").exists()
    return dict(zip(REAL, results, strict=True)), reached


@pytest.mark.parametrize("name", REAL)
def test_what_is_wrong_with_an_arm_gets_one_line(said, name):
    result = said[0][name]
    assert result["code"] == USER_ERROR, result["err"]
    (line,) = result["err"].splitlines()
    assert line.startswith("so101_robobase: error: ")
    assert REAL[name][3] in line


def test_nothing_moves_for_what_is_wrong(said):
    assert len(said[1]) == 0


@pytest.mark.slow
def test_a_person_goes_through_a_dry_run(bus, snapshots, tmp_path):
    """The camera is a stand-in below OpenCV; everything else is as with an arm."""
    jobs = tmp_path / "jobs.json"
    calibration = bus.write_calibration(tmp_path, "arm")
    words = ["--port", bus.port, "--calibration", str(calibration), *CAMERA, "--dry_run"]
    argv = ["robot", "rollout", str(snapshots["rgb"]), *words, "--num_episodes", "2"]
    output = ["--output_dir", str(tmp_path / "out")]
    jobs.write_text(json.dumps([{"argv": [*argv, *output], "visible": True}]))
    command = [sys.executable, str(COMMAND_LINES), str(jobs), str(tmp_path / "results.json")]
    before = len(bus.commands())
    with TerminalSession(command) as terminal:
        terminal.expect("press Enter to begin")
        terminal.press("\n")
        for key, verdict in (("s", "success"), ("f", "failure")):
            terminal.expect("put the cube down, then press space")
            terminal.press(" ")
            time.sleep(1.0)
            terminal.press(key)
            terminal.expect(verdict)
        terminal.wait()
        assert terminal.is_as_before
    assert json.loads((tmp_path / "results.json").read_text())[0]["code"] == 0
    record = json.loads((tmp_path / "out" / "rollout.json").read_text())
    assert [outcome["success"] for outcome in record["outcomes"]] == [True, False]
    assert record["dry_run"]
    assert bus.state().limp.all()
    assert len(bus.commands()) - before == 6  # the present position, before torque comes on


def emulated(snapshot, folder, *words):
    """The command line of a rollout on emulated servos that ends by itself after a minute."""
    return [
        *(sys.executable, "-m", "so101_robobase", "robot", "rollout", str(snapshot)),
        *("--robot", "emulated", "--episode_time_s", "60", "--output_dir", str(folder), *words),
    ]


STOPS = {  # how it is stopped -> exit code, reason in the log, how the arm is left
    "escape": ("\x1b", CUT_SHORT, "Esc pressed", "released"),
    "Ctrl-C": ("\x03", INTERRUPTED, "SIGINT", "held"),
    "Ctrl-C twice": ("\x03\x03", INTERRUPTED, "SIGINT|KeyboardInterrupt", "released"),
    "SIGTERM": (signal.SIGTERM, CUT_SHORT, "SIGTERM", "released"),
    "SIGUSR1": (signal.SIGUSR1, CUT_SHORT, "SIGUSR1", "released"),
    "closed terminal": (None, CUT_SHORT, "SIGHUP|Esc pressed", "released"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code", "reason", "left"), STOPS.values(), ids=STOPS)
def test_it_stops_at_once_and_leaves_nothing_running(snapshots, tmp_path, stop, code, reason, left):
    words = ["--on_stop", "hold"] if left == "held" else []
    folder = tmp_path / "out"
    with TerminalSession(emulated(snapshots["rgb"], folder, *words)) as terminal:
        wait_for(lambda: '"connected"' in (folder / "events.jsonl").read_text())
        started = children(terminal.pid)
        assert len(started) == 2  # emulator and watchdog
        if stop is None:
            terminal.hang_up()
        elif isinstance(stop, str):
            terminal.press(stop)
        else:
            terminal.send(stop)
        ended = terminal.wait()
        skip_if_too_busy(terminal.text)
        assert ended == code
        if stop is not None:
            assert f"the arm is {left}" in terminal.text
            assert terminal.is_as_before
        assert "Traceback" not in terminal.text
    events = [json.loads(line) for line in (folder / "events.jsonl").open()]
    assert [event["kind"] for event in events[-2:]] == ["stop", left]
    assert re.fullmatch(reason, events[-2]["reason"])
    assert not (folder / "watchdog.log").exists()
    wait_for(lambda: not any(is_alive(process) for process in started))


@pytest.mark.slow
def test_nothing_is_left_of_a_killed_rollout(snapshots, tmp_path):
    folder = tmp_path / "out"
    with TerminalSession(emulated(snapshots["rgb"], folder)) as terminal:
        wait_for(lambda: '"connected"' in (folder / "events.jsonl").read_text())
        started = children(terminal.pid)
        terminal.send(signal.SIGKILL)
        terminal.wait()
        emulator, watchdog = sorted(started, key=lambda process: "watchdog" in command(process))
        wait_for(lambda: not is_alive(emulator))
        port = re.search(r"servos at (\S+)", terminal.text).group(1)
        assert not os.path.lexists(port)  # whose number the next terminal may get
        wait_for(lambda: (folder / "watchdog.log").exists())
    assert "turning torque off" in (folder / "watchdog.log").read_text()
    os.kill(watchdog, signal.SIGKILL)  # its servos are gone: it would try for a minute


@pytest.mark.slow
def test_a_fault_ends_it_with_its_reason(snapshots, tmp_path):
    folder = tmp_path / "out"
    fault = Fault("overheat", servos=(3,), start=0.0)
    words = emulated(snapshots["rgb"], folder)[3:]
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_FAULT, json.dumps(asdict(fault)), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=180)
    assert process.returncode == CUT_SHORT, out + err
    skip_if_too_busy(err)
    (line,) = [line for line in err.splitlines() if "stopped" in line]
    assert re.search("elbow_flex is (85 degrees warm|too hot)", line)
    assert "released" in line


_WITH_FAULT = """
import json, sys
from so101_robobase.base import cli
from so101_robobase.robot.loop.arm import Arm
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import Fault

buses, connect, start = [], Arm.connect, EmulatedBus.__init__

def started(self, *args, **kwargs):
    start(self, *args, **kwargs)
    buses.append(self)

def connected(self):
    connect(self)
    buses[0].inject(Fault(**json.loads(sys.argv[1])))

EmulatedBus.__init__, Arm.connect = started, connected
sys.exit(cli.main(sys.argv[2:]))
"""


def in_terminal(jobs, folder):
    """What the command lines `jobs` said, one after the other in one terminal."""
    jobs_file, results = folder / "jobs.json", folder / "results.json"
    jobs_file.write_text(json.dumps(jobs))
    with TerminalSession([sys.executable, str(COMMAND_LINES), str(jobs_file), str(results)]) as one:
        assert one.wait(300) == 0, one.text
    return json.loads(results.read_text())


def skip_if_too_busy(text):
    if stopped := re.search("stopped: (joint state .* old|the loop was late .*)", text):
        pytest.skip(f"this machine is too busy for a rate of 50 Hz: {stopped[0]}")


def wait_for(condition, seconds=120.0):
    ends = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < ends
        time.sleep(0.05)


def children(pid):
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
