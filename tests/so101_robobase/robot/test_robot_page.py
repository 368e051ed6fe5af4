"""docs/robot.md without an arm, step by step: its own commands, as a new user types them."""

import importlib.util
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from terminal_session import TerminalSession
from tiny_snapshot import save_tiny_snapshot

from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.attach import Emulator

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "robot.md").read_text()

NOT_HERE = {  # commands of the page that need what no test has
    "uv pip install": "the installation, which .ci/run goes through",
    "sudo usermod": "a user's rights",
    "lerobot-setup-motors": "servos without ids",
    "lerobot-calibrate": "an emulator brings its calibration",
    "python -m robobase.train": "a training, which has tests of its own",
}
PATIENCE = 400.0  # s, for a busy machine
BUSY = "give this machine less to do"  # what an emulated arm says of lost answers
QUICK = "--num_episodes 2 --duration 4 --generations 6 --population 8"  # of identify


def commands():
    """All of the page's shell commands, without comments; `$run` is put in."""
    found, run = [], ""
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            line = re.sub(r"\s+#.*", "", line).strip()
            if line.startswith("run="):
                run = line.removeprefix("run=").strip('"')
            elif line:
                found.append(re.sub(" +", " ", line.replace("$run", run)))
    return found


def starting(words):
    """The page's first command that starts with `words`."""
    return next(one for one in commands() if one.startswith(words))


def test_the_page_has_no_command_that_nobody_tries():
    tried = Path(__file__).read_text()
    for command in commands():
        words = command.split(" --")[0].split(" policies/")[0].split(" best_")[0]
        known = any(command.startswith(one) for one in NOT_HERE)
        assert known or f'"{words}' in tried, command


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in, with what the page's steps before brought."""
    sys.path.insert(0, str(ROOT / "tests" / "so101_robobase" / "perception"))
    for module in ("lerobot", "transformers", "segmentation_models_pytorch"):
        pytest.importorskip(module)
    from tiny_depth import save_tiny_depth

    folder = tmp_path_factory.mktemp("page")
    snapshot = save_tiny_snapshot(folder, "env.observation=seg_depth", "env.eval_stage=0")
    (folder / "best_snapshot.pt").symlink_to(snapshot)
    (folder / "best.pt").symlink_to(ROOT / "policies" / "segmentation.pt")
    (folder / "policies").symlink_to(ROOT / "policies")
    save_tiny_depth(folder / "depth")
    return folder


@pytest.fixture(scope="module")
def here(place):
    """here(command) -> the command as typed in `place`, with what stands for arm and camera."""

    def typed(command):
        for old, new in (
            ("/dev/ttyACM0", f"{place}/so101"),
            ("/tmp/so101", f"{place}/so101"),
            ("--calibration calibration.json", "--calibration calibration/emulated.json"),
            ("--camera 0", f"--camera {place}/so101 --camera_size 160x120"),
            ("depth-anything/Depth-Anything-V2-Small-hf", "depth"),
        ):
            command = command.replace(old, new)
        words = shlex.split(command)
        if words[:4] == ["so101_robobase", "robot", "emulator", "hand"]:
            words += ["--link", f"{place}/so101"]  # as by default, /tmp/so101
        assert words[0] == "so101_robobase"
        rest = shlex.join([sys.executable, "-m", *words])
        return ["sh", "-c", f"cd {shlex.quote(str(place))} && exec {rest}"]

    return typed


@pytest.fixture(scope="module")
def emulator(place, here):
    """The page's emulator, started by the page's command."""
    with TerminalSession(here(starting("so101_robobase robot emulator --link"))) as terminal:
        terminal.expect("An emulated SO-101 listens on", PATIENCE)
        with Emulator(place / "so101") as attached:
            yield attached
        terminal.press("\x03")
        terminal.wait()
    assert not os.path.lexists(place / "so101.emulator")


def lead(emulator, seconds=1.0, **goals):
    """What `robot emulator hand` does, without its start; goals in degrees of the model."""
    radians = {name: float(np.deg2rad(angle)) for name, angle in goals.items()}
    emulator.ask("hand", goals=radians, seconds=seconds)
    time.sleep(seconds + 0.3)


def pose(emulator, name):
    from so101_robobase.robot.align.joint_fit import OPEN, POSES
    from so101_robobase.sim.scene import build_scene

    (wanted,) = [one for one in POSES if one.name == name]
    ends = build_scene().model.actuator_ctrlrange[-1]
    jaw = float(np.rad2deg(ends[1 if wanted.gripper == OPEN else 0]))
    lead(emulator, 1.5, **dict(zip(JOINTS, (*wanted.angles, jaw), strict=True)))


def too_slow(text):
    """Whether it was stopped because this machine has other things to do, as it may say."""
    reasons = ("ms old", "late", "stood still", "does not answer", "no word of how")
    stops = re.findall("stopped: (.*)", text)
    return any(reason in stop for stop in stops for reason in reasons)


def run_to_its_end(terminal, code=0):
    assert terminal.wait(PATIENCE) == code, terminal.text


@pytest.mark.slow
def test_the_hand_moves_the_arm_as_the_page_says(emulator, here):
    hands = [one for one in commands() if one.startswith("so101_robobase robot emulator hand")]
    assert len(hands) == 3
    for command in hands:
        with TerminalSession(here(command)) as terminal:
            run_to_its_end(terminal)
            if "elbow_flex" in command:
                there = re.search(r"elbow_flex (-?[\d.]+)", terminal.text)
                assert there, terminal.text
                assert float(there[1]) == pytest.approx(20, abs=1)
    assert emulator.state().limp.all()


@pytest.mark.slow
def test_step_3_checks_the_arm_and_its_directions(emulator, here):
    pose(emulator, "ahead")
    with TerminalSession(here(starting("so101_robobase robot check"))) as terminal:
        terminal.expect("its torque goes off", PATIENCE)
        terminal.press("\n")
        for name in JOINTS:
            terminal.expect(f"{name}: ", PATIENCE)
            emulator.ask("hand", goals={name: 0.3}, seconds=0.5)
            time.sleep(1.0)
            terminal.press("\n")
        terminal.wait(PATIENCE)
        assert terminal.text.count("OK   direction of") == len(JOINTS), terminal.text
        assert "FAIL servo" not in terminal.text
        assert re.search(r"camera: 160x120, [\d.]+ frames a second", terminal.text), terminal.text


@pytest.mark.slow
def test_step_4_aligns_joints_camera_and_servos(emulator, here, place):
    with TerminalSession(here(starting("so101_robobase robot align joints"))) as terminal:
        for name in ("ahead", "left_and_down", "right_and_folded", "gallows"):
            terminal.expect(f", {name}: ", PATIENCE)
            terminal.expect("Enter: ", PATIENCE)
            pose(emulator, name)
            terminal.press("\n")
        run_to_its_end(terminal)
    assert "direction" in (place / "my_arm.yaml").read_text()
    pose(emulator, "ahead")
    live = starting("so101_robobase robot align camera") + " --live_png live.png"
    with TerminalSession(here(live)) as terminal:
        try:
            terminal.expect("fovy", PATIENCE)
        except AssertionError:
            if "OpenGL" in terminal.text:
                pytest.skip("no OpenGL here")
            raise
        for key in "xxsq":
            terminal.press(key)
            time.sleep(0.3)
        run_to_its_end(terminal)
    assert "camera" in (place / "my_arm.yaml").read_text()
    assert (place / "live.png").exists()
    identify = starting("so101_robobase robot identify")
    with TerminalSession(here(f"{identify} {QUICK}")) as terminal:
        terminal.expect("press Enter to begin", PATIENCE)
        terminal.press("\n")
        terminal.wait(PATIENCE)
        if not too_slow(terminal.text):
            assert "2 episodes recorded to excitations" in terminal.text, terminal.text
            assert "fitted to 1 episodes" in terminal.text, terminal.text


@pytest.mark.slow
def test_step_6_runs_dry_then_step_by_step_then_in_earnest(emulator, here, place):
    runs = [one for one in commands() if "rollout best_snapshot.pt" in one]
    assert len(runs) == 4
    for number, command in enumerate(runs):
        assert command.startswith("so101_robobase robot rollout best_snapshot.pt")
        command = command.replace("--num_episodes 20", "--num_episodes 1")
        has_rerun = importlib.util.find_spec("rerun") is not None
        display = f"--display {place}/out.rrd" if has_rerun else ""
        command = command.replace("--display", display)
        # A processor without graphics draws and looks at few pictures a second.
        command += f" --episode_time_s 0.2 --output_dir out{number} --limits slow.yaml"
        (place / "slow.yaml").write_text("monitor: {frame_hold: 0.5, frame_stop: 1.0}\n")
        if not (place / "my_arm.yaml").exists():
            command = command.replace("--alignment my_arm.yaml", "")
        with TerminalSession(here(command)) as terminal:
            terminal.expect(f"press Enter to begin|{BUSY}", PATIENCE)
            if BUSY in terminal.text:
                pytest.skip(f"servos in real time: {terminal.text}")
            terminal.press("\n")
            terminal.expect("put the cube down, then press space|stopped: .*\n", PATIENCE)
            if not too_slow(terminal.text):
                terminal.press(" ")
                for _ in range(4 if "--step" in command else 0):
                    time.sleep(0.5)
                    terminal.press("n")
                terminal.expect("out of time: s success|stopped: .*\n", PATIENCE)
                terminal.press("f")
            code = terminal.wait(PATIENCE)
            told = "--step" in command or "--dry_run" in command
            if told and not too_slow(terminal.text):
                assert re.search(r"step 1(, not sent)?: pan ", terminal.text), terminal.text
            assert code == 0 or too_slow(terminal.text), terminal.text
            assert "power" not in terminal.text
        record = json.loads((place / f"out{number}" / "rollout.json").read_text())
        assert record["left"] == "release"
        assert emulator.state().limp.all()


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["sim", "emulated"])
def test_rollouts_without_anything_else(here, place, robot):
    command = starting(
        f"so101_robobase robot rollout policies/robust_snapshot.pt --robot {robot}"
    ).replace("--num_episodes 10", f"--num_episodes 1 --output_dir {robot}")
    with TerminalSession(here(command)) as terminal:
        code = terminal.wait(PATIENCE)
        assert code == 0 or too_slow(terminal.text), terminal.text
        assert "power" not in terminal.text
