"""Physical randomisation: what differs, whom a reset concerns, and that the task stays solvable."""

import io
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from so101_robobase.arm.control import ControlConfig
from so101_robobase.envs.observer import Observer, low_dim_state
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.sim.delay import DelayLine
from so101_robobase.sim.randomization import (
    RANGES,
    PhysicalRandomization,
    RandomizationConfig,
)
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks import starts
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.lift.teacher import LiftTeacher
from so101_robobase.vision.observation import ClassId

MIXTURE = {0: 1.0, 2: 1.0, 3: 1.0}  # every kind of start: box, held, near
NOMINAL: dict[str, Any] = {
    "cube_edge": (0.03, 0.03),
    "cube_mass": (0.03, 0.03),
    "friction": (1.0, 1.0),  # of two geoms' the larger counts: the fingers' and the table's
    "servo_stiffness": (1.0, 1.0),
    "servo_damping": (1.0, 1.0),
    "force_limit": (1.0, 1.0),
    "joint_damping": (1.0, 1.0),
    "joint_friction": (1.0, 1.0),
    "action_latency": (0, 0),
    "camera_latency": (0, 0),
    "encoder_noise": (0.0, 0.0),
    "velocity_noise": (0.0, 0.0),
    "calibration_offset": (0.0, 0.0),
}


def config(physical: PhysicalRandomization | None = None, **settings: Any) -> LiftConfig:
    physical = physical or PhysicalRandomization(enabled=True)
    return LiftConfig(
        randomization=RandomizationConfig(physical=physical), **{"stage": 3, **settings}
    )


def started(num_envs: int = 1, seed: int = 0, **settings: Any) -> LiftTask:
    task = LiftTask(config(**settings), num_envs)
    task.seed(range(seed, seed + num_envs))
    task.reset(np.arange(num_envs))
    return task


def only(**ranges: Any) -> PhysicalRandomization:
    """Everything nominal but `ranges`."""
    return PhysicalRandomization(enabled=True, **{**NOMINAL, **ranges})


def record(num_envs: int, threads: int, control: str, steps: int = 12) -> np.ndarray:
    """(steps, num_envs, k): what a policy and a learner see of some short episodes."""
    settings = config(stage=MIXTURE, episode_length=10, control=ControlConfig(mode=control))
    task = LiftTask(settings, num_envs, threads)
    task.seed(range(num_envs))
    task.reset(np.arange(num_envs))
    rngs = [np.random.default_rng(100 + i) for i in range(num_envs)]
    rows = []
    for _ in range(steps):
        action = np.stack([rng.uniform(-1, 1, task.action_dim) for rng in rngs])
        result = task.step(action)
        done = result.terminated | result.truncated
        rows.append(
            np.column_stack(
                [
                    task.sim.engine.state,
                    low_dim_state(task.sim),
                    task.sim.interface.seen_qpos,
                    result.reward,
                    done,
                    *(value.reshape(num_envs, -1) for value in task.sim.variation.drawn.values()),
                ]
            )
        )
        task.reset(np.flatnonzero(done))
    return np.array(rows)


@pytest.mark.parametrize("control", ["joint_delta", "cartesian_delta"])
def test_a_randomised_episode_is_the_same_bit_for_bit_alone_and_in_a_batch(control):
    eight = record(8, 2, control)
    np.testing.assert_array_equal(eight[:, :3], record(3, 1, control))
    np.testing.assert_array_equal(eight[:, :1], record(1, 1, control))
    assert len(np.unique(eight[0, :, -6:])) == 48  # each joint of each member is another


def test_switched_off_the_ranges_change_nothing():
    ranges = PhysicalRandomization(cube_edge=(0.02, 0.02), action_latency=(2, 2))
    plain = started(4, physical=PhysicalRandomization())
    other = started(4, physical=ranges)
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 4, 6)):
        rewards = [task.step(action).reward for task in (plain, other)]
        np.testing.assert_array_equal(other.sim.engine.state, plain.sim.engine.state)
        np.testing.assert_array_equal(rewards[0], rewards[1])
    assert np.shares_memory(other.sim.interface.joint_pos, other.sim.qpos)
    assert not {"variation", "interface"} & other.state_dict().keys()


def test_nominal_values_give_the_physics_that_is_not_randomised(monkeypatch):
    def scenes_own(rng, scene, cube_edge, count):  # draws nothing, so that the starts are the same
        return np.full(count, scene.cube_half_size)

    monkeypatch.setattr(starts, "_half_sizes", scenes_own)
    starts.bank.cache_clear()
    plain = started(4, physical=PhysicalRandomization())
    nominal = started(4, physical=only())
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 4, 6)):
        rewards = [task.step(action).reward for task in (plain, nominal)]
        np.testing.assert_allclose(nominal.sim.qpos, plain.sim.qpos, atol=1e-6)
        np.testing.assert_allclose(rewards[0], rewards[1], atol=1e-4)
    np.testing.assert_array_equal(
        low_dim_state(nominal.sim)[:, :6], nominal.sim.joint_pos.astype("f4")
    )


def test_every_range_is_drawn_within_its_bounds_and_differs_between_members():
    task = started(64, stage={0: 1, 1: 1, 3: 1})
    physical = task.config.randomization.physical
    for name in RANGES:
        low, high = getattr(physical, name)
        values = task.sim.variation.drawn[name]
        assert (values >= low).all(), name
        assert (values <= high).all(), name
        assert np.ptp(values) > 0.7 * (high - low), name
    whole = task.sim.variation.drawn["action_latency"]
    assert set(whole) == {0, 1, 2}


def test_a_member_runs_on_the_model_that_its_numbers_describe():
    task = started(2, physical=only(cube_edge=(0.024, 0.036), cube_mass=(0.01, 0.06)))
    for i in range(2):
        model = task.sim.engine.batch.get_model(i)
        edge, mass = (task.sim.variation.drawn[name][i] for name in ("cube_edge", "cube_mass"))
        wanted = build_scene(SceneConfig(cube_half_size=edge / 2, cube_mass=mass)).model
        for name in (
            "geom_size",
            "geom_rbound",
            "geom_aabb",
            "body_mass",
            "body_inertia",
            "body_invweight0",
            "body_subtreemass",
            "dof_invweight0",
        ):
            np.testing.assert_allclose(
                getattr(model, name), getattr(wanted, name), rtol=1e-9, err_msg=name
            )
        nodes = slice(0, int(model.body_bvhadr[-1]) + 1)
        np.testing.assert_allclose(model.bvh_aabb[nodes], wanted.bvh_aabb[nodes], rtol=1e-9)


def test_servos_joints_and_friction_are_the_models_times_what_was_drawn():
    task = started(2)
    drawn, nominal = task.sim.variation.drawn, task.sim.scene.model
    for i in range(2):
        model = task.sim.engine.batch.get_model(i)
        gain = 998.22 * drawn["servo_stiffness"][i]
        np.testing.assert_allclose(model.actuator_gainprm[:, 0], gain)
        np.testing.assert_allclose(model.actuator_biasprm[:, 1], -gain)
        np.testing.assert_allclose(model.actuator_biasprm[:, 2], -2.731 * drawn["servo_damping"][i])
        np.testing.assert_allclose(
            model.actuator_forcerange,
            nominal.actuator_forcerange * drawn["force_limit"][i, :, None],
        )
        np.testing.assert_allclose(model.dof_damping[:6], 0.6 * drawn["joint_damping"][i])
        np.testing.assert_allclose(model.dof_frictionloss[:6], 0.052 * drawn["joint_friction"][i])
        assert not model.dof_damping[6:].any()
        for geom in ("cube", "floor", "static_finger_pad", "moving_finger_pad"):
            assert model.geom(geom).friction[0] == drawn["friction"][i]


def test_a_held_cube_is_pressed_with_the_friction_that_was_drawn():
    task = started(3, stage=1)
    for i in range(3):
        data = task.sim.engine.batch.get_data(i)
        mujoco.mj_forward(task.sim.engine.batch.get_model(i), data)
        assert data.ncon > 1
        np.testing.assert_allclose(
            data.contact.friction[:, 0], task.sim.variation.drawn["friction"][i]
        )


def test_a_reset_redraws_the_members_named_and_no_other():
    task = started(6, stage=MIXTURE)
    for action in np.random.default_rng(0).uniform(-1, 1, (3, 6, 6)):
        task.step(action)
    before, models = task.state_dict(), [task.sim.engine.batch.get_model(i) for i in range(6)]
    task.reset(np.array([1, 4]))
    after, others = task.state_dict(), [0, 2, 3, 5]
    for name in RANGES:
        np.testing.assert_array_equal(
            after["variation"][name][others], before["variation"][name][others], err_msg=name
        )
    for i in range(6):
        changed = [
            (getattr(task.sim.engine.batch.get_model(i), name) != getattr(models[i], name)).any()
            for name in (
                "geom_size",
                "geom_friction",
                "body_mass",
                "body_invweight0",
                "actuator_gainprm",
                "actuator_forcerange",
                "dof_damping",
            )
        ]
        assert all(changed) if i in (1, 4) else not any(changed)
    for name in ("joint_pos", "joint_vel"):
        np.testing.assert_array_equal(
            after["interface"][name][others], before["interface"][name][others]
        )
    for name in ("commands", "scenes"):
        past, kept = (state["interface"][name]["past"][:, others] for state in (before, after))
        np.testing.assert_array_equal(kept, past)


def test_a_saved_environment_continues_bit_for_bit():
    settings = config(stage=MIXTURE, episode_length=12, observation="seg_depth", teacher=True)
    env, other = (TaskVectorEnv(settings, 3) for _ in range(2))
    env.reset(seed=3)
    actions = np.random.default_rng(7).uniform(-1, 1, (10, 3, 6))
    env.step(actions[0])
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    other.reset(seed=50)
    other.load_state_dict(torch.load(file, weights_only=True))
    for action in actions:
        expected, got = env.step(action), other.step(action)
        for key in expected[0]:
            np.testing.assert_array_equal(expected[0][key], got[0][key])
        np.testing.assert_array_equal(expected[1], got[1])
        np.testing.assert_array_equal(expected[4]["teacher_action"], got[4]["teacher_action"])
    env.close()
    other.close()


def test_a_delay_line_gives_each_row_the_value_of_its_own_delay():
    line = DelayLine(3, 1, 2)
    line.fill(np.arange(3), np.full((3, 1), -1.0))
    delay = np.array([0, 1, 2])
    everyone = np.ones(3, bool)
    seen = []
    for step in range(4):
        line.push(everyone, np.full((3, 1), float(step)))
        seen.append(line.read(delay)[:, 0].tolist())
    assert seen == [[0, -1, -1], [1, 0, -1], [2, 1, 0], [3, 2, 1]]
    line.push(np.array([True, False, True]), np.full((3, 1), 4.0))
    assert line.read(delay)[:, 0].tolist() == [4, 2, 2]


def test_targets_reach_the_servos_late_by_the_action_latency():
    prompt, late = (
        started(action_repeat=1, physical=only(action_latency=(steps, steps))) for steps in (0, 2)
    )
    at_rest = late.sim.engine.batch.ctrl.copy()
    sent: list[np.ndarray] = []
    applied: list[np.ndarray] = []
    for action in np.random.default_rng(0).uniform(-0.3, 0.3, (8, 1, 6)):
        for task, ctrl in ((prompt, sent), (late, applied)):
            task.step(action)
            ctrl.append(task.sim.engine.batch.ctrl.copy())
    np.testing.assert_array_equal(np.array(applied), np.array([at_rest, at_rest, *sent[:-2]]))


def test_the_camera_shows_the_scene_as_it_was_and_joints_are_measured_now():
    task = started(2, action_repeat=1, physical=only(camera_latency=(2, 2)))
    past = [task.sim.qpos.copy()] * 2
    observer = Observer(task.sim, "seg_depth", 84, "auto")
    fresh = Observer(started(2, physical=PhysicalRandomization()).sim, "seg_depth", 84, "auto")
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 2, 6)):
        past.append(task.sim.qpos.copy())
        task.step(action)
        np.testing.assert_array_equal(task.sim.interface.seen_qpos, past[-2])
    seen = observer.observe()
    fresh._sim.qpos[:] = past[-2]
    np.testing.assert_array_equal(seen["rgb"], fresh.observe()["rgb"])
    np.testing.assert_array_equal(
        seen["low_dim_state"][:, :6], task.sim.joint_pos.astype(np.float32)
    )
    for one in (observer, fresh):
        one.close()


@pytest.mark.parametrize("control", ["joint_delta", "cartesian_delta"])
def test_a_miscalibrated_arm_believes_to_be_elsewhere_and_stays_where_it_is(control):
    settings: dict[str, Any] = {"stage": 2, "control": ControlConfig(mode=control)}
    sizes = (0.024, 0.036)
    task = started(physical=only(cube_edge=sizes, calibration_offset=(0.03, 0.03)), **settings)
    before = task.sim.qpos.copy()
    np.testing.assert_allclose(task.sim.interface.joint_pos, task.sim.joint_pos + 0.03)
    np.testing.assert_allclose(low_dim_state(task.sim)[:, :6], task.sim.joint_pos + 0.03, atol=1e-6)
    still = np.zeros((1, task.action_dim))
    still[:, task.action_dim - 1] = 0 if control == "joint_delta" else -1
    for _ in range(10):
        task.step(still)
    np.testing.assert_allclose(task.sim.qpos[:, :5], before[:, :5], atol=4e-3)
    assert task.grasping.all()
    arm = slice(0, 5)  # the jaw presses on the cube: it does not get where it is told
    np.testing.assert_allclose(
        task.sim.interface.joint_pos[:, arm], task.sim.controller.target[:, arm], atol=5e-3
    )


def test_measurements_are_noisy_anew_at_every_control_step_and_the_truth_is_not():
    noisy = started(
        20, action_repeat=1, physical=only(encoder_noise=(0.01, 0.01), velocity_noise=(0.2, 0.2))
    )
    exact = started(20, action_repeat=1, physical=only())
    errors = []
    for _ in range(20):
        for task in (noisy, exact):
            task.step(np.zeros((20, 6)))
        np.testing.assert_array_equal(noisy.sim.qpos, exact.sim.qpos)
        measured = np.hstack([noisy.sim.interface.joint_pos, noisy.sim.interface.joint_vel])
        errors.append(measured - np.hstack([noisy.sim.joint_pos, noisy.sim.joint_vel]))
    position, velocity = np.split(np.array(errors), 2, axis=2)
    np.testing.assert_allclose([position.std(), velocity.std()], [0.01, 0.2], rtol=0.05)
    np.testing.assert_allclose([position.mean(), velocity.mean()], 0, atol=0.02)
    assert len(np.unique(position)) == position.size


@pytest.mark.parametrize("stage", [0, 1, 2, 3, 4])
def test_a_stage_starts_as_its_name_says_with_cubes_of_all_sizes(stage):
    task = started(48, stage=stage, physical=only(cube_edge=(0.024, 0.036)))
    assert np.ptp(task.sim.cube_half_size) > 0.0045
    held = stage in (1, 2)
    if stage != 1:
        np.testing.assert_allclose(task.sim.cube_pos[:, 2], task.sim.cube_half_size, atol=2.5e-3)
    before = task.sim.qpos.copy()
    for _ in range(2):
        assert (task.grasping == held).all()
        assert (task.lifted == (stage == 1)).all()
        for _ in range(5):
            task.step(np.zeros((48, 6)))
    assert np.abs(task.sim.qpos - before)[:, :-4].max() < 0.012


def test_start_states_hold_the_cube_whatever_else_was_drawn():
    task = started(48, stage={1: 1, 2: 1})
    for _ in range(5):
        task.step(np.zeros((48, 6)))
    assert task.grasping.mean() > 0.95


def test_a_larger_cube_is_seen_larger():
    pictures = []
    for edge in (0.024, 0.036):
        task = started(stage=0, seed=4, physical=only(cube_edge=(edge, edge)))
        observer = Observer(task.sim, "seg", 84, "auto")
        pictures.append((observer.observe()["rgb"] == ClassId.CUBE).sum())
        observer.close()
    assert pictures[1] > 1.5 * pictures[0] > 0


def play(num_envs: int, **settings: Any) -> LiftTask:
    """One episode of the scripted pick in every member."""
    task = started(num_envs, on_success="continue", **settings)
    teacher = LiftTeacher(task)
    while not task.truncated.all():
        task.step(teacher.act())
    return task


@pytest.mark.parametrize("stage", [0, 3])
def test_the_scripted_pick_copes_with_what_is_drawn(stage):
    assert play(8, stage=stage, seed=20).succeeded.sum() >= 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "stage", "at_least"),
    [
        ("joint_delta", 0, 47),
        ("joint_delta", 1, 49),
        ("joint_delta", 2, 49),
        ("joint_delta", 3, 46),
        ("joint_delta", 4, 47),
    ],
)
def test_success_of_the_scripted_pick_over_fifty_seeds(mode, stage, at_least):
    task = play(50, stage=stage, control=ControlConfig(mode=mode))
    assert task.succeeded.sum() >= at_least


@pytest.mark.parametrize("physical", [False, True])
def test_velocities_as_the_robot_estimates_them(physical):
    randomization = {"physical": {"enabled": physical}}
    env = TaskVectorEnv(
        num_envs=3, joint_velocity="differences", stage=0, observation="state",
        randomization=randomization, action_repeat=1,
    )  # fmt: skip
    first, _ = env.reset(seed=7)
    assert (first["low_dim_state"][:, 6:12] == 0).all()
    rng = np.random.default_rng(0)
    before = first["low_dim_state"][:, :6]
    true = []
    for _ in range(30):
        seen = env.step(rng.uniform(-1, 1, (3, 6)))[0]["low_dim_state"]
        np.testing.assert_allclose(seen[:, 6:12], (seen[:, :6] - before) / 0.02, atol=1e-3)
        before = seen[:, :6]
        true.append(np.abs(seen[:, 6:12] - env.task.sim.joint_vel).max())
    assert np.max(true) > 1e-3  # they are estimates
    middle = env.state_dict()
    actions = rng.uniform(-1, 1, (3, 6))
    after = env.step(actions)[0]["low_dim_state"]
    env.load_state_dict(middle)
    np.testing.assert_array_equal(env.step(actions)[0]["low_dim_state"], after)
    env.close()
