"""The wrist camera's pose: conversions, overlays, and the fit that finds a moved camera."""

import argparse
import json

import cv2
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, CameraPose, Units, load, save
from so101_robobase.robot.align import align_camera_command
from so101_robobase.robot.align.overlay import (
    Frame,
    Overlay,
    adjusted,
    capture,
    comparison,
    draw_comparisons,
    fit_camera,
    load_frames,
    moved,
    nominal_pose,
    offset,
    outlined,
    save_frames,
)
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.vision.observation import ClassId, colorize_ids

JOINT_RANGE = build_scene().model.actuator_ctrlrange
JOINTS = np.array(
    [
        [0.0, -0.6, 0.3, 1.2, 1.57, 0.8],
        [0.4, -0.3, 0.2, 1.0, 1.2, 0.1],
        [-0.5, 0.2, -0.3, 0.9, 1.57, 1.5],
        [0.9, -0.3, 0.4, 0.4, 1.57, 0.0],
        [-0.8, -0.9, 0.5, 0.6, 0.0, 1.2],
    ]
)
SIZE = (96, 128)


def shifted(signs: np.ndarray, fovy: float = 0.0) -> CameraPose:
    """The model's camera moved by 15 mm along and turned by 3 degrees about every axis."""
    look = Look(
        camera_position=tuple(0.015 * signs[:3]),
        camera_rotation=tuple(np.deg2rad(3) * signs[3:]),
        camera_fovy=fovy,
    )
    return moved(nominal_pose(), look)


def error_of(found: CameraPose, true: CameraPose) -> tuple[float, float]:
    """Distance in mm and angle in degrees."""
    look = offset(true, found)
    rotation = cv2.Rodrigues(np.array(look.camera_rotation))[0]  # small: the order hardly matters
    angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    return 1e3 * float(np.linalg.norm(look.camera_position)), float(angle)


def frames_from(pose: CameraPose, joints: np.ndarray = JOINTS) -> list[Frame]:
    """What a camera at `pose` sees, with a cube that the fit cannot know of."""
    scene = build_scene(
        SceneConfig(camera_pos=pose.pos, camera_euler=pose.euler, camera_fovy=pose.fovy)
    )
    renderer = make_renderer("auto", scene, *SIZE)
    state = np.tile(scene.model.qpos0, (len(joints), 1))
    state[:, :6] = joints
    state[:, 6:9] = (0.25, 0.03, 0.015)
    ids, _ = renderer.render(state)
    renderer.close()
    return [
        Frame(np.ascontiguousarray(colorize_ids(row)[..., ::-1]), joint, row)
        for row, joint in zip(ids, joints, strict=True)
    ]


def test_a_moved_pose_is_the_cameras_that_the_scene_then_has():
    """Conversions agree with MuJoCo's own: pose -> look -> picture, pose -> scene -> picture."""
    pose = shifted(np.array([1, -1, 1, 1, 1, -1]), fovy=4.0)
    overlay = Overlay(build_scene(), *SIZE)
    seen = overlay.ids([pose] * len(JOINTS), JOINTS)
    overlay.close()
    wanted = np.stack([frame.ids for frame in frames_from(pose)])
    counts = wanted != ClassId.CUBE
    assert (seen == wanted)[counts].mean() > 0.998
    nominal = np.stack([frame.ids for frame in frames_from(nominal_pose())])
    assert (nominal == wanted)[counts].mean() < 0.95


def test_offsets_undo_moves():
    rng = np.random.default_rng(0)
    for _ in range(5):
        look = Look(
            camera_position=tuple(rng.normal(0, 0.02, 3)),
            camera_rotation=tuple(rng.normal(0, 0.2, 3)),
            camera_fovy=2.0,
        )
        back = offset(nominal_pose(), moved(nominal_pose(), look))
        np.testing.assert_allclose(back.camera_position, look.camera_position, atol=1e-12)
        np.testing.assert_allclose(back.camera_rotation, look.camera_rotation, atol=1e-9)
        assert back.camera_fovy == pytest.approx(2.0)


def test_a_moved_camera_is_found():
    """15 mm along and 3 degrees about each axis: 26 mm and 5 degrees together."""
    true = shifted(np.array([1, -1, -1, -1, 1, 1]))
    assert error_of(nominal_pose(), true) > (25, 5)
    fit = fit_camera(build_scene(), frames_from(true), fit_fovy=False, generations=40)
    distance, angle = error_of(fit.pose, true)
    assert distance < 4
    assert angle < 0.7
    assert fit.pose.fovy == nominal_pose().fovy
    assert fit.before < 0.95
    assert fit.after > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_camera_and_field_of_view_are_found_from_any_side(seed):
    rng = np.random.default_rng(seed)
    true = shifted(rng.choice([-1.0, 1.0], 6), fovy=float(rng.choice([-2, 2])))
    fit = fit_camera(build_scene(), frames_from(true), seed=seed)
    distance, angle = error_of(fit.pose, true)
    assert distance < 6
    assert angle < 1
    assert abs(fit.pose.fovy - true.fovy) < 1.5
    assert fit.after > 0.995


def test_a_fit_needs_class_ids():
    frame = frames_from(nominal_pose(), JOINTS[:1])[0]
    with pytest.raises(UserError, match="give --segmentation"):
        fit_camera(build_scene(), [Frame(frame.picture, frame.joint_pos)])


def test_lines_adjust_the_pose_in_the_cameras_frame():
    pose = adjusted(nominal_pose(), "x 10 rz 5 f -1.5")
    look = offset(nominal_pose(), pose)
    np.testing.assert_allclose(look.camera_position, [0.01, 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.rad2deg(look.camera_rotation), [0, 0, 5], atol=1e-9)
    assert look.camera_fovy == pytest.approx(-1.5)
    assert adjusted(pose, "") == pose
    for words, message in (("x", "pairs"), ("u 3", "'u' is unknown"), ("x two", "no number")):
        with pytest.raises(UserError, match=message):
            adjusted(pose, words)
    with pytest.raises(UserError, match="fovy"):
        adjusted(pose, "f 200")


def test_outlines_lie_on_the_edges_of_classes_alone():
    ids = np.full((60, 80), ClassId.TABLE, np.uint8)
    ids[20:40, 30:50] = ClassId.STATIC_FINGER
    picture = np.full((60, 80, 3), 77, np.uint8)
    drawn = outlined(picture, ids)
    changed = (drawn != picture).any(axis=2)
    assert changed[20:40, 30].all()
    assert not changed[25:35, 35:45].any()
    assert not changed[:10].any()  # the picture's border is no edge
    assert (picture == 77).all()


def test_the_overlay_shows_real_and_simulated_side_by_side(tmp_path):
    frames = frames_from(nominal_pose(), JOINTS[:2])
    paths = draw_comparisons(build_scene(), frames, nominal_pose(), tmp_path)
    picture = cv2.imread(str(paths[1]))
    assert picture.shape == (2 * SIZE[0], 2 * SIZE[1], 3)
    np.testing.assert_array_equal(picture, comparison(frames[1], _without_cube(frames[1])))
    # Below the captions, and away from the cube, the simulated view is the real one.
    real, simulated = picture[24 : SIZE[0], : SIZE[1]], picture[24 : SIZE[0], SIZE[1] :]
    assert (real == simulated).all(axis=2)[frames[1].ids[24:] != ClassId.CUBE].mean() > 0.99


def _without_cube(frame: Frame) -> np.ndarray:
    overlay = Overlay(build_scene(), *SIZE)
    try:
        return overlay.ids([nominal_pose()], frame.joint_pos[None])[0]
    finally:
        overlay.close()


def test_frames_come_back_from_their_folder_in_either_unit(tmp_path):
    frames = frames_from(nominal_pose(), JOINTS[:2])
    save_frames([frames[0], Frame(frames[1].picture, frames[1].joint_pos)], tmp_path)
    units = Units(Alignment(zero=(10.0, 0.0, 0.0, 0.0, 0.0)), JOINT_RANGE)
    again = load_frames(tmp_path, units)
    np.testing.assert_array_equal(again[0].picture, frames[0].picture)
    np.testing.assert_array_equal(again[0].ids, frames[0].ids)
    np.testing.assert_allclose(again[1].joint_pos, JOINTS[1])
    assert again[1].ids is None
    entries = json.loads((tmp_path / "frames.json").read_text())
    entries[0] = {"picture": "000.png", "servo": units.to_servo(JOINTS[0]).tolist()}
    (tmp_path / "frames.json").write_text(json.dumps(entries))
    np.testing.assert_allclose(load_frames(tmp_path, units)[0].joint_pos, JOINTS[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read as JSON"),
        ("[]", "one at least"),
        ('[{"servo": [1,2,3,4,5,6]}]', "frame 0: must be"),
        ('[{"picture": "a.png"}]', "one of servo and joint_pos"),
        ('[{"picture": "a.png", "servo": [1, 2]}]', "6 numbers"),
        ('[{"picture": "a.png", "servo": [1,2,3,4,5,6]}]', r"a.png cannot be read \(No such file"),
    ],
)
def test_a_wrong_list_of_frames_is_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "frames.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_frames(tmp_path, Units(Alignment(), JOINT_RANGE))
    assert "\n" not in str(error.value)


def test_masks_must_hold_class_ids_of_the_pictures_size(tmp_path):
    save_frames(frames_from(nominal_pose(), JOINTS[:1]), tmp_path)
    cv2.imwrite(str(tmp_path / "000_ids.png"), np.full(SIZE, 9, np.uint8))
    with pytest.raises(UserError, match="class ids 0 to 5"):
        load_frames(tmp_path, Units(Alignment(), JOINT_RANGE))


def test_pictures_are_taken_with_the_joints_of_that_moment():
    driver = SimulatedDriver(Body(LiftConfig(stage=0)), resolution=0)
    driver.connect()
    asked = []

    def ask(prompt):
        driver.body.sim.qpos[0, :6] = JOINTS[len(asked)]
        asked.append(prompt)

    pictures = iter(np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3))
    frames = capture(driver, driver.units, lambda: next(pictures), ask, 3)
    assert driver.body.limp.all()
    np.testing.assert_allclose([frame.joint_pos for frame in frames], JOINTS[:3])
    assert [frame.picture[0, 0, 0] for frame in frames] == [0, 60, 120]


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    align_camera_command.configure(parser)
    return align_camera_command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_draws_and_writes_what_the_scene_then_has(tmp_path):
    save_frames(frames_from(nominal_pose(), JOINTS[:1]), tmp_path)
    output = tmp_path / "arm.yaml"
    save(Alignment(zero=(1.0, 2.0, 3.0, 4.0, 5.0)), output)
    pose = ("--camera_pos", 0.01, -0.06, -0.02, "--camera_fovy", 66)
    assert _run("--output", output, "--frames", tmp_path, *pose) == 0
    assert (tmp_path / "overlays" / "overlay_000.png").exists()
    alignment = load(output)
    assert alignment.zero == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert alignment.camera == CameraPose((0.01, -0.06, -0.02), nominal_pose().euler, 66.0)
    camera = build_scene(SceneConfig(alignment=str(output))).model.camera("wrist_cam")
    np.testing.assert_allclose(camera.pos, (0.01, -0.06, -0.02))


def test_a_person_adjusts_line_by_line(tmp_path, monkeypatch, capsys):
    save_frames(frames_from(nominal_pose(), JOINTS[:1]), tmp_path)
    output = tmp_path / "arm.yaml"
    lines = iter(["x 3", "nonsense", "f 2", "w"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    assert _run("--output", output, "--frames", tmp_path, "--adjust") == 0
    assert load(output).camera == adjusted(nominal_pose(), "x 3 f 2")
    assert "'nonsense': give pairs" in capsys.readouterr().out
    output.unlink()
    lines = iter(["x 3", "q"])
    assert _run("--output", output, "--frames", tmp_path, "--adjust") == 0
    assert not output.exists()


def test_the_command_refuses_half_an_arm(tmp_path):
    with pytest.raises(UserError, match="needs --port, --calibration and --camera"):
        _run("--output", tmp_path / "arm.yaml", "--frames", tmp_path, "--port", "/dev/null")
