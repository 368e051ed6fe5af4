"""The tasks beside the lift, and what holds for every task."""

import dataclasses

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hydra import compose, initialize_config_module

from robobase import sanity
from robobase.errors import UserError
from so101_robobase.envs import demos
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.robot.simulated.body import Body
from so101_robobase.tasks import names
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import config_of, entry, make_task, make_teacher
from so101_robobase.tasks.lift.rewards import Reward
from so101_robobase.tasks.place.config import PlaceConfig
from so101_robobase.tasks.place.rewards import PLACE_RADIUS, TERMS, VERSIONS, PlaceSignals
from so101_robobase.tasks.place.task import cube_to_target
from so101_robobase.tasks.task import Task
from so101_robobase.vision.observation import CLASSES

STAGES = [(name, stage) for name in names() for stage in entry(name).config.STAGES]
TARGET = len(CLASSES)


def started(config: TaskConfig, num_envs: int = 8) -> Task:
    task = make_task(config, num_envs)
    task.seed(range(num_envs))
    task.reset(np.arange(num_envs))
    return task


def played(task: Task) -> Task:
    teacher = make_teacher(task)
    for _ in range(task.config.episode_length // task.config.action_repeat):
        task.step(teacher.act())
    return task


def test_an_unknown_task_is_named():
    with pytest.raises(UserError, match="task 'plaice' is unknown; did you mean place"):
        entry("plaice")


@pytest.mark.parametrize("name", names())
def test_a_tasks_config_file_says_what_its_dataclass_says(name):
    with initialize_config_module("robobase.cfgs", version_base=None):
        cfg = compose("robobase_config", overrides=[f"env=so101_{name}"])
    sanity.check(cfg)
    config = config_of(cfg)
    # The run has one discount and one action repeat for all tasks, and its seed.
    assert config == dataclasses.replace(entry(name).config(), discount=config.discount)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("preset", ["teacher", "demos"])
def test_presets_go_with_every_task(name, preset):
    with initialize_config_module("robobase.cfgs", version_base=None):
        cfg = compose("robobase_config", overrides=[f"launch={preset}", f"env=so101_{name}"])
    sanity.check(cfg)
    assert config_of(cfg).name == name
    assert cfg.experiment_name == f"so101_{name}_{preset}"


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_the_expert_succeeds_from_every_stage(name, stage):
    task = played(started(entry(name).config(stage=stage, observation="state"), 16))
    assert task.succeeded.mean() >= 0.9


@pytest.mark.parametrize("name", names())
def test_an_idle_arm_does_not_succeed(name):
    task = started(entry(name).config(stage=0, observation="state"))
    for _ in range(task.config.episode_length // task.config.action_repeat):
        task.step(np.zeros((8, 6)))
    assert not task.succeeded.any()
    assert task.truncated.all()


@pytest.mark.parametrize("name", names())
def test_a_saved_task_continues_bit_for_bit(name):
    config = entry(name).config(observation="state", teacher=True)
    env, other = TaskVectorEnv(config, 3), TaskVectorEnv(config, 3)
    env.reset(seed=4)
    other.reset(seed=9)
    rng = np.random.default_rng(0)
    for _ in range(20):
        env.step(rng.uniform(-1, 1, (3, 6)))
    other.load_state_dict(env.state_dict())
    for _ in range(80):
        action = rng.uniform(-1, 1, (3, 6))
        one, two = env.step(action), other.step(action)
        np.testing.assert_array_equal(one[0]["low_dim_state"], two[0]["low_dim_state"])
        np.testing.assert_array_equal(one[1], two[1])
        np.testing.assert_array_equal(one[4]["teacher_action"], two[4]["teacher_action"])


@pytest.mark.parametrize("name", names())
def test_a_task_is_a_gymnasium_environment(name):
    check_env(TaskEnv(task=name, observation="seg_depth"), skip_render_check=True)


@pytest.mark.parametrize("name", names())
def test_demonstrations_end_in_success(name):
    config = entry(name).config(observation="state", on_success="terminate")
    assert all(demo[-1][2] for demo in demos.collect(config, 3))


@pytest.mark.parametrize("name", names())
def test_a_simulated_arm_is_judged_as_its_task_is(name):
    """The expert's targets, played on a body, succeed there too."""
    config = entry(name).config(stage=0, observation="state", starts="evaluation")
    task, body = make_task(config, 1), Body(config)
    task.seed([3])
    task.reset(np.array([0]))
    body.begin(3)
    np.testing.assert_array_equal(task.sim.qpos, body.sim.qpos)
    teacher = make_teacher(task)
    for _ in range(config.episode_length // config.action_repeat):
        task.step(teacher.act())
        body.advance(task.sim.joint_target[0])
        body.advance(task.sim.joint_target[0])
    assert task.succeeded[0]
    assert body.succeeded


# ---- place


def test_the_square_lies_in_its_box_and_away_from_the_cube():
    task = started(PlaceConfig(stage=0, observation="state"), 64)
    box = task.config.target_box
    x, y = task.sim.mark_pos[:, 0].T
    assert ((x >= box.x[0]) & (x <= box.x[1]) & (y >= box.y[0]) & (y <= box.y[1])).all()
    assert np.ptp(x) > 0.08
    assert (cube_to_target(task.sim) >= task.config.target_apart).all()


def test_the_square_stays_where_it_is_and_is_seen_as_a_class_of_its_own():
    env = TaskVectorEnv(PlaceConfig(stage=0), 4)
    observation, _ = env.reset(seed=0)
    assert all((picture[0] == TARGET).any() for picture in observation["rgb"])
    before = env.task.sim.mark_pos.copy()
    for action in np.random.default_rng(0).uniform(-1, 1, (50, 4, 6)):
        env.step(action)
    np.testing.assert_array_equal(env.task.sim.mark_pos, before)
    env.close()


def test_a_cube_that_is_held_over_the_square_is_not_placed():
    task = started(PlaceConfig(stage=1, observation="state"), 4)
    task.sim.qpos[:, 13:15] = task.sim.cube_pos[:, :2]
    for _ in range(10):
        task.step(np.zeros((4, 6)))
    assert task.grasping.all()
    assert not task.succeeded.any()


def test_a_cube_that_lies_on_the_square_is_placed_once_nothing_touches_it():
    task = started(PlaceConfig(stage=3, observation="state", on_success="continue"), 4)
    task.sim.qpos[:, 13:15] = task.sim.cube_pos[:, :2] + [0.015, 0]
    task.sim.qpos[0, 13] += 0.01  # 25 mm: beside it
    for _ in range(4):
        task.step(np.zeros((4, 6)))
    np.testing.assert_array_equal(task.succeeded, [False, True, True, True])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_box": {"x": [0.2, 0.25], "y": [0, 0.05]}}, "target_box is too small"),
        ({"target_box": {"x": [0.2, 0.46], "y": [0, 0.2]}}, "goes 0.50 m from the base"),
        ({"sight": {"segmentation": "best.pt"}}, "no network knows the class 'target' yet"),
        ({"reward_version": "v20"}, "reward_version=v20 is not allowed; give v12"),
    ],
)
def test_a_mistake_in_placing_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        TaskEnv(task="place", **settings)


def _signals(**values):
    held = {
        "tcp_to_cube": 0.01, "cube_z": 0.10, "grasping": True, "was_grasping": True,
        "hold_count": 5, "success": False, "jaw_angle": 0.15, "moving_pad_to_cube": 0.01,
        "action_change_sq": 2.0, "steps_open": 0, "cube_speed": 0.0, "cube_to_target": 0.02,
    }  # fmt: skip
    return PlaceSignals(**{name: np.array([v]) for name, v in (held | values).items()})


R_1CM, R_2CM = 1 - np.tanh(0.1), 1 - np.tanh(0.2)
TO_TARGET = 1 - np.tanh(0.1)  # 2 cm
SUNK = {
    "tcp_to_cube": 0.02, "cube_z": 0.006, "grasping": False, "hold_count": 0, "jaw_angle": 1.0,
    "moving_pad_to_cube": 0.03, "action_change_sq": 0.5, "steps_open": 60,
}  # fmt: skip


def test_v12_pays_what_the_original_formula_says():
    reward = Reward("v12", 0.08, VERSIONS, TERMS)
    held = R_1CM + 0.25 + 2 * 0.085 / 0.065 + 1 + 1 - 0.01 * 2 + TO_TARGET + 2
    assert reward(_signals())[0] == pytest.approx(held, abs=1e-12)
    # No charge for letting go 2 cm from the target, lowered by 74 of 65 mm, released.
    sunk = R_2CM - 50 * 0.004 + TO_TARGET + 0.074 / 0.065 + 3
    assert reward(_signals(**SUNK))[0] == pytest.approx(sunk, abs=1e-12)
    far = reward.terms(_signals(**SUNK, **{"cube_to_target": PLACE_RADIUS * 7}))
    assert (far["drop_off_target"], far["released"]) == (-2, 0)


# ---- touch


def test_open_fingers_do_not_touch_and_pressing_beside_the_cube_is_none():
    task = started(entry("touch").config(stage=3, observation="state"), 4)
    down = np.zeros((4, 6))
    down[:, 1] = 0.4
    for _ in range(30):
        task.step(down)
    assert not task.succeeded.any()
