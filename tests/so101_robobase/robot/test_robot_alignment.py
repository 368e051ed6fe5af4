"""Alignment files: units, reading and writing, and what the environment makes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from robobase.errors import UserError
from so101_robobase.arm.alignment import (
    Alignment,
    CameraPose,
    ServoModel,
    Units,
    from_plain,
    load,
    save,
    to_plain,
)
from so101_robobase.arm.control import ControlConfig
from so101_robobase.arm.servos import CommandDelay
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.robot.simulated.body import Body
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask

ONES = (1.0,) * 6
SERVOS = ServoModel((0.5,) * 6, (2.0,) * 6, (3.0,) * 6, (4.0,) * 6, 0.026)
CAMERA = CameraPose((0.01, -0.06, -0.02), (0.4, 0.1, 3.0), 65.0)
WHOLE = Alignment(
    (1, -1, 1, 1, -1), (1.0, -2.5, 0.0, 4.0, 90.0), 3.0, 96.0, CAMERA, SERVOS, "left_arm"
)


@pytest.fixture
def file(tmp_path):
    save(WHOLE, tmp_path / "arm.yaml")
    return str(tmp_path / "arm.yaml")


def test_units_go_there_and_back_and_hit_the_measured_points():
    joint_range = build_scene().model.actuator_ctrlrange
    units = Units(WHOLE, joint_range)
    servo = np.array([[1.0, -2.5, 0.0, 4.0, 90.0, 3.0], [31.0, 27.5, 30.0, 34.0, 120.0, 96.0]])
    model = units.to_model(servo)
    np.testing.assert_allclose(model[0], [0, 0, 0, 0, 0, joint_range[5, 0]], atol=1e-12)
    np.testing.assert_allclose(np.rad2deg(model[1, :5]), [30, -30, 30, 30, -30])
    assert model[1, 5] == pytest.approx(joint_range[5, 1])
    np.testing.assert_allclose(units.to_servo(model), servo)


def test_a_file_gives_back_what_was_saved(file, tmp_path):
    assert load(Path(file)) == WHOLE
    save(Alignment(), tmp_path / "plain.yaml")
    assert load(tmp_path / "plain.yaml") == Alignment()
    assert from_plain(to_plain(WHOLE)) == WHOLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero": [0.0, 0.0]}, "zero"),
        ({"direction": [1, 1, 2, 1, 1]}, "direction of elbow_flex is 2"),
        ({"gripper_open": 3.5}, "must differ"),
        ({"servo": {}}, "did you mean servos?"),
        ({"servos": {**to_plain(WHOLE)["servos"], "latency": -0.1}}, "servos.latency=-0.1"),
        ({"servos": {**to_plain(WHOLE)["servos"], "stiffness": [0.0] * 6}}, "servos.stiffness"),
        ({"servos": {**to_plain(WHOLE)["servos"], "damping": [float("nan")] * 6}}, "damping"),
        ({"camera": {**to_plain(WHOLE)["camera"], "fovy": 181.0}}, "camera.fovy=181.0"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, change, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**to_plain(WHOLE), **change}))
    with pytest.raises(UserError) as error:
        load(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_scene_has_the_files_camera_and_servos(file):
    plain, scene = build_scene(), build_scene(SceneConfig(alignment=file))
    camera = scene.model.camera("wrist_cam")
    np.testing.assert_allclose(camera.pos, CAMERA.pos)
    assert camera.fovy == 65.0
    same = build_scene(SceneConfig(camera_pos=CAMERA.pos, camera_euler=CAMERA.euler))
    np.testing.assert_allclose(camera.quat, same.model.camera("wrist_cam").quat)
    model, nominal = scene.model, plain.model
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], 0.5 * nominal.actuator_gainprm[:, 0])
    np.testing.assert_allclose(model.actuator_biasprm[:, 1], 0.5 * nominal.actuator_biasprm[:, 1])
    np.testing.assert_allclose(model.actuator_biasprm[:, 2], 2 * nominal.actuator_biasprm[:, 2])
    np.testing.assert_allclose(model.dof_damping[:6], 3 * nominal.dof_damping[:6])
    np.testing.assert_allclose(model.dof_frictionloss[:6], 4 * nominal.dof_frictionloss[:6])
    assert scene.servo_delay == 13
    assert plain.servo_delay == 0


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "arm.yaml"
    delays = []
    for latency in (0.01, 0.02):
        save(replace(WHOLE, servos=replace(SERVOS, latency=latency)), path)
        delays.append(build_scene(SceneConfig(alignment=str(path))).servo_delay)
    assert delays == [5, 10]


def test_a_missing_file_says_how_to_go_on():
    with pytest.raises(UserError, match=r"nowhere\.yaml.*set env\.scene\.alignment=null"):
        build_scene(SceneConfig(alignment="nowhere.yaml"))


def test_physics_is_randomised_around_the_identified_servos(file):
    config = LiftConfig(scene=SceneConfig(alignment=file))
    physical = replace(
        config.randomization.physical,
        enabled=True,
        servo_stiffness=(1.1, 1.1),
        action_latency=(0, 0),
    )
    config = replace(config, randomization=replace(config.randomization, physical=physical))
    task = LiftTask(config, 1, 1)
    task.seed([0])
    task.reset(np.array([0]))
    wanted = 1.1 * 0.5 * build_scene().model.actuator_gainprm[:, 0]
    np.testing.assert_allclose(task.sim.engine.batch.get_model(0).actuator_gainprm[:, 0], wanted)


def test_a_snapshot_from_before_alignments_takes_one(file):
    snapshot = Path(__file__).parents[3] / "policies" / "whole_task_snapshot.pt"
    policy = load_policy(snapshot, overrides={"env.scene.alignment": file})
    config = LiftConfig.from_cfg(policy.cfg, evaluation=True)
    assert config.build_scene().config.servos == SERVOS
    assert LiftConfig.from_cfg(load_policy(snapshot).cfg).scene == SceneConfig()


@pytest.mark.parametrize("steps", [0, 1, 5, 13])
def test_every_target_arrives_exactly_as_late_as_asked(steps):
    delay = CommandDelay(2, steps)
    delay.fill(slice(None), np.zeros((2, 6)))
    rng = np.random.default_rng(steps)
    sent, arrived = [], []
    for count in (10, 3, 10, 1, 7, 20):
        target = rng.normal(size=(2, 6))
        sent += [target] * count
        parts = list(delay.send(target, np.array([True, True]), count))
        assert sum(n for _, n in parts) == count
        for told, n in parts:
            arrived += [told.copy()] * n
    wanted = [np.zeros((2, 6))] * steps + sent
    np.testing.assert_array_equal(np.stack(arrived), np.stack(wanted[: len(arrived)]))


def test_arms_that_wait_keep_what_is_on_its_way():
    delay = CommandDelay(2, 2)
    delay.fill(slice(None), np.zeros((2, 6)))
    list(delay.send(np.full((2, 6), 1.0), np.array([True, False]), 2))
    told, _ = next(delay.send(np.full((2, 6), 2.0), np.array([True, True]), 2))
    np.testing.assert_array_equal(told[:, 0], [1.0, 0.0])


def _late_task(latency, **changes):
    scene = SceneConfig(servos=ServoModel(ONES, ONES, ONES, ONES, latency))
    control = ControlConfig(max_lead=(3.2,) * 6)  # so that targets do not depend on the joints
    task = LiftTask(LiftConfig(stage=0, scene=scene, control=control, **changes), 2, 1)
    task.seed([3, 4])
    task.reset(np.arange(2))
    return task


def test_the_task_moves_later_by_the_latency():
    """By a whole control step of 20 ms, so that the shifted paths can be compared tick by tick."""
    prompt, late = _late_task(0.0, action_repeat=1), _late_task(0.02, action_repeat=1)
    rng = np.random.default_rng(0)
    paths = {id(prompt): [], id(late): []}
    actions = rng.uniform(-1, 1, (12, 2, 6))
    for task, first in ((prompt, 0), (late, 0)):
        for action in actions[first:]:
            task.step(action)
            paths[id(task)].append(task.sim.joint_pos.copy())
    moved = np.abs(paths[id(prompt)][-1] - paths[id(prompt)][0]).max()
    assert moved > 0.1
    # At rest both droop alike, so what is left is the first tick, in which the late one stays.
    np.testing.assert_allclose(paths[id(late)][1:], paths[id(prompt)][:-1], atol=2e-3)
    assert np.abs(np.array(paths[id(late)]) - paths[id(prompt)]).max() > 0.02


def test_a_late_task_continues_from_its_state_bit_for_bit():
    task = _late_task(0.034)
    rng = np.random.default_rng(1)
    for _ in range(3):
        task.step(rng.uniform(-1, 1, (2, 6)))
    state = task.state_dict()
    other = _late_task(0.034)
    other.load_state_dict(state)
    actions = rng.uniform(-1, 1, (4, 2, 6))
    for action in actions:
        task.step(action)
        other.step(action)
    np.testing.assert_array_equal(task.sim.qpos, other.sim.qpos)


def test_members_of_a_late_batch_do_not_influence_one_another():
    pair = _late_task(0.026)
    alone = LiftTask(pair.config, 1, 1)
    alone.seed([4])
    alone.reset(np.array([0]))
    rng = np.random.default_rng(2)
    for _ in range(5):
        action = rng.uniform(-1, 1, (2, 6))
        pair.step(action)
        alone.step(action[1:])
    np.testing.assert_array_equal(pair.sim.qpos[1], alone.sim.qpos[0])


def test_the_simulated_body_is_late_too():
    still = {}
    for latency in (0.0, 0.03):
        scene = SceneConfig(servos=ServoModel(ONES, ONES, ONES, ONES, latency))
        body = Body(LiftConfig(stage=0, scene=scene))
        target = body.joint_pos + 0.2
        start = body.joint_pos
        still[latency] = 0
        while np.abs(body.joint_pos - start).max() < 0.002:
            body.advance(target, 1)
            still[latency] += 1
    assert still[0.03] - still[0.0] == 15
