"""The live overlay, without a screen: a simulated arm and camera, keys that are pressed for it."""

import argparse
import contextlib

import cv2
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, CameraPose, load, save
from so101_robobase.robot.align import align_camera_command
from so101_robobase.robot.align.live_overlay import (
    HELP,
    STEPS,
    PngScreen,
    PoseEditor,
    RerunScreen,
    live_overlay,
)
from so101_robobase.robot.align.overlay import adjusted, nominal_pose, offset, outlined
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.person import keys
from so101_robobase.robot.real import lerobot_camera
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.scene_camera import SceneCamera
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig

SIZE = (160, 120)  # width, height
POSES = np.array(
    [
        [0.0, -0.6, 0.3, 1.2, 1.57, 0.8],
        [0.4, -0.3, 0.2, 1.0, 1.2, 0.1],
        [-0.5, 0.2, -0.3, 0.9, 1.57, 1.5],
    ]
)
ARM = Alignment((1, -1, 1, 1, -1), (12.0, -7.5, 3.0, 0.0, 41.0))


@pytest.fixture
def editor():
    """Starts at the model's camera; what it saves is in `editor.saves`."""
    saves: list[CameraPose] = []
    editor = PoseEditor(nominal_pose(), saves.append)
    editor.saves = saves
    return editor


def type_(editor, text):
    for key in text:
        editor.press(key)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("x", "x 1"),
        ("Y", "y -1"),
        ("z", "z 1"),
        ("p", "rx 0.5"),
        ("W", "ry -0.5"),
        ("r", "rz 0.5"),
        ("f", "f 0.5"),
    ],
)
def test_a_key_moves_the_camera_in_its_own_frame(editor, key, words):
    editor.press(key)
    assert editor.pose == adjusted(nominal_pose(), words)
    assert f"  {key.lower()} " in HELP or f" {key.lower()} " in HELP
    editor.press(key.swapcase())
    back = offset(nominal_pose(), editor.pose)
    np.testing.assert_allclose([*back.camera_position, *back.camera_rotation], 0, atol=1e-9)
    assert back.camera_fovy == pytest.approx(0)


def test_steps_grow_and_shrink_between_their_ends(editor):
    type_(editor, "+x")
    assert editor.pose == adjusted(nominal_pose(), "x 2")
    type_(editor, "u--x")
    assert editor.pose == adjusted(nominal_pose(), "x 0.5")
    type_(editor, "u" + 20 * "+" + "x")
    assert editor.pose == adjusted(nominal_pose(), f"x {STEPS[-1]}")
    type_(editor, "u" + 20 * "-" + "p")
    assert editor.pose == adjusted(nominal_pose(), f"rx {STEPS[0] / 2}")
    assert "step 0.1 mm 0.05 deg" in editor.status()


def test_undo_goes_back_step_by_step(editor):
    type_(editor, "xyz")
    poses = []
    for _ in range(4):
        editor.press("u")
        poses.append(editor.pose)
    start = nominal_pose()
    assert poses == [adjusted(start, "x 1 y 1"), adjusted(start, "x 1"), start, start]


def test_saving_and_leaving(editor):
    type_(editor, "x")
    assert not editor.saved
    type_(editor, "s")
    assert editor.saved
    assert editor.saves == [editor.pose]
    type_(editor, "y")
    assert not editor.saved
    editor.press("q")
    assert not editor.done
    assert "not saved" in editor.status()
    editor.press("+")  # thinks otherwise
    editor.press("q")
    assert not editor.done
    editor.press("q")
    assert editor.done
    assert len(editor.saves) == 1


@pytest.mark.parametrize(
    ("text", "done"), [("q", True), ("xq", False), ("xsq", True), ("x\x1b", True)]
)
def test_what_would_be_lost_is_asked_for(editor, text, done):
    type_(editor, text)
    assert editor.done == done


def test_a_field_of_view_has_ends(editor):
    type_(editor, 20 * "+" + 100 * "F")
    assert "fovy" in editor.status()
    assert 0 < editor.pose.fovy <= 5


def camera_at(pose: CameraPose, qpos) -> SceneCamera:
    """A simulated camera that sits where `pose` says."""
    config = SceneConfig(camera_pos=pose.pos, camera_euler=pose.euler, camera_fovy=pose.fovy)
    camera = SceneCamera(build_scene(config), qpos, SIZE)
    try:
        camera.open()
    except (GLUnavailableError, UserError) as error:
        pytest.skip(str(error))
    return camera


def expected(pose: CameraPose, qpos: np.ndarray) -> np.ndarray:
    """Class ids of a camera at `pose`, the cube out of sight."""
    config = SceneConfig(camera_pos=pose.pos, camera_euler=pose.euler, camera_fovy=pose.fovy)
    renderer = make_renderer("auto", build_scene(config), SIZE[1], SIZE[0])
    state = qpos.copy()
    state[6:9] = (0, 0, -1)
    ids = renderer.render(state[None])[0][0]
    renderer.close()
    return ids


class Album:
    """A screen that keeps every picture, without its status line."""

    def __init__(self):
        self.pictures = []

    def show(self, picture):
        self.pictures.append(picture[: SIZE[1]].copy())

    def close(self):
        pass


def test_outlines_follow_the_arm_and_fit_once_the_pose_does(editor):
    true = adjusted(nominal_pose(), "x 4 ry -3 f 2")
    driver = SimulatedDriver(Body(LiftConfig(stage=0)), ARM, resolution=0)
    driver.connect()
    body = driver.body
    states = [np.concatenate([pose, (0.25, 0.03, 0.015, 1, 0, 0, 0)]) for pose in POSES]
    camera = camera_at(true, lambda: body.sim.qpos[0])
    album, lines = Album(), []
    script = iter([None, *"xxxx", *(6 * "W"), None, *(4 * "f"), None, "s", None, "q"])
    rounds = iter([0, 1, 2, 2])

    def pressed():
        key = next(script)
        if key is None:  # end of a round; before the next the person has moved the arm
            body.sim.qpos[0] = states[next(rounds)]
        return key

    try:
        live_overlay(
            build_scene(), driver.units, driver, camera, editor, album, pressed, lines.append
        )
        frames = []
        for index in (0, 1, 2, 2):
            body.sim.qpos[0] = states[index]
            frames.append(camera.grab()[1])
    finally:
        camera.close()
    assert body.limp.all()
    assert len(album.pictures) == len(lines) == 5
    for index, words in enumerate(("", "x 4 ry -3", "x 4 ry -3 f 2", "x 4 ry -3 f 2")):
        pose = adjusted(nominal_pose(), words)
        wanted = outlined(frames[index], expected(pose, states[min(index, 2)]))
        assert same(album.pictures[index], wanted) > 0.99
    fitted = outlined(frames[0], expected(true, states[0]))
    assert same(album.pictures[0], fitted) < 0.97
    assert editor.saves == [editor.pose]
    np.testing.assert_allclose(editor.pose.pos, true.pos, atol=1e-9)
    np.testing.assert_allclose(editor.pose.euler, true.euler, atol=1e-9)
    assert lines[3].endswith("saved")


def same(a: np.ndarray, b: np.ndarray) -> float:
    return float((a == b).all(axis=2).mean())


class Still:
    """A camera that shows one picture."""

    def grab(self):
        return 0.0, np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def test_an_arm_that_falls_silent_ends_it(editor, monkeypatch):
    driver = SimulatedDriver(Body(LiftConfig(stage=0)))
    driver.connect()
    read, reads = driver.read, iter(range(10**6))

    def fading():
        if next(reads) >= 3:
            raise DriverError("no answer")
        return read()

    monkeypatch.setattr(driver, "read", fading)
    album = Album()
    with pytest.raises(UserError, match=r"does not answer \(no answer\)"):
        live_overlay(build_scene(), driver.units, driver, Still(), editor, album, keys.no_keys, str)
    assert len(album.pictures) == 3


def test_nothing_is_shown_while_torque_may_be_on(editor, monkeypatch):
    driver = SimulatedDriver(Body(LiftConfig(stage=0)))
    monkeypatch.setattr(driver, "release", lambda: ["elbow_flex"])
    album = Album()
    with pytest.raises(UserError, match="torque may still be on in elbow_flex"):
        live_overlay(build_scene(), driver.units, driver, Still(), editor, album, keys.no_keys, str)
    assert album.pictures == []


def test_the_png_is_written_a_few_times_a_second_and_ends_with_the_last_picture(tmp_path):
    clock = [10.0]
    path = tmp_path / "new" / "live.png"
    screen = PngScreen(path, lambda: clock[0])
    seen = []
    for value in range(40):  # two seconds
        clock[0] += 0.05
        screen.show(np.full((4, 6, 3), value, np.uint8))
        seen.append(int(cv2.imread(str(path))[0, 0, 0]))
    assert 7 <= len(set(seen)) <= 9
    assert seen[0] == 0
    assert seen[-1] != 39
    screen.close()
    assert cv2.imread(str(path))[0, 0, 0] == 39
    assert [file.name for file in path.parent.iterdir()] == ["live.png"]


def test_rerun_keeps_pictures_in_a_file(tmp_path):
    pytest.importorskip("rerun")
    path = tmp_path / "live.rrd"
    screen = RerunScreen(str(path))
    rng = np.random.default_rng(0)
    screen.show(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    screen.close()
    assert path.stat().st_size > 5_000


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    align_camera_command.configure(parser)
    return align_camera_command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --frames, a folder of pictures, or --live"),
        (("--live", "--fit"), "--live goes without"),
        (("--live",), "takes keys from a terminal"),
    ],
)
def test_the_command_says_what_it_needs(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(keys, "has_keys", lambda: False)
    with pytest.raises(UserError, match=message):
        _run("--output", tmp_path / "arm.yaml", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_command_needs_arm_and_camera(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "has_keys", lambda: True)
    with pytest.raises(UserError, match="needs --port, --calibration and --camera"):
        _run("--output", tmp_path / "arm.yaml", "--live", "--port", "/dev/null")


@pytest.fixture
def typed(monkeypatch):
    """typed(keys): they are pressed one by one, each after a picture."""

    def type_them(text):
        waiting = iter([None, *(key for typed in text for key in (typed, None))])

        @contextlib.contextmanager
        def terminal():
            yield lambda: next(waiting)

        monkeypatch.setattr(keys, "has_keys", lambda: True)
        monkeypatch.setattr(keys, "terminal_keys", terminal)

    return type_them


def test_the_command_writes_the_alignment_through_lerobots_driver(
    bus, tmp_path, monkeypatch, capsys, typed
):
    """Everything but the camera is real: driver, bytes on the bus, files."""
    pytest.importorskip("lerobot")
    from so101_robobase.robot.real.ports import PortLock

    true = adjusted(nominal_pose(), "x 2 f 1")
    photographed: list[np.ndarray] = []  # states: an arm without torque sinks all the time

    def state() -> np.ndarray:
        photographed.append(bus.state().qpos)
        return photographed[-1]

    camera = camera_at(true, state)
    monkeypatch.setattr(lerobot_camera, "LeRobotCamera", lambda *_: camera)
    output, png = tmp_path / "arm.yaml", tmp_path / "live.png"
    save(Alignment(arm="arm"), output)
    calibration = bus.write_calibration(tmp_path, "arm")
    arm = ("--port", bus.port, "--calibration", calibration, "--camera", 0)
    typed("xxffsq")
    assert _run("--output", output, "--live_png", png, *arm) == 0
    assert "written to" in capsys.readouterr().out
    assert load(output) == Alignment(arm="arm", camera=true)
    assert bus.state().limp.all()
    PortLock(bus.port).release()  # the port is free again

    # The last picture shows the arm where the bus said it was.
    shown = cv2.imread(str(png))[: SIZE[1]]
    alike = []
    for qpos in photographed[-3:]:
        camera = camera_at(true, lambda qpos=qpos: qpos)
        alike.append(same(shown, outlined(camera.grab()[1], expected(true, qpos))))
        camera.close()
    assert max(alike) > 0.98


def test_what_was_not_saved_can_be_gone_on_from(bus, tmp_path, monkeypatch, capsys, typed):
    pytest.importorskip("lerobot")
    camera = camera_at(nominal_pose(), lambda: bus.state().qpos)
    monkeypatch.setattr(lerobot_camera, "LeRobotCamera", lambda *_: camera)
    output = tmp_path / "arm.yaml"
    calibration = bus.write_calibration(tmp_path, "arm")
    arm = ("--port", bus.port, "--calibration", calibration, "--camera", 0)
    typed("zz\x1b")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert _run("--output", output, "--live", *arm) == 0
    assert not output.exists()
    assert (tmp_path / "live_overlay.png").exists()
    hint = capsys.readouterr().out.splitlines()[-1]
    assert "not saved" in hint
    again = argparse.ArgumentParser()
    align_camera_command.configure(again)
    args = again.parse_args(["--output", "x", *hint[hint.index("--camera_pos") :].split()])
    pose = adjusted(nominal_pose(), "z 2")
    np.testing.assert_allclose(args.camera_pos, pose.pos, atol=1e-4)
    np.testing.assert_allclose(args.camera_euler, pose.euler, atol=1e-4)
    assert args.camera_fovy == pytest.approx(pose.fovy)
