import json
from dataclasses import fields, replace

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim import distractors
from so101_robobase.sim.appearance import Distractor
from so101_robobase.sim.looks import NEUTRAL, Look, VisualRandomization, draw_look
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask


def draw(config=None, num=1, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_look(config or VisualRandomization(), rng) for _ in range(num)]


def test_a_look_is_drawn_from_its_generator_alone():
    assert draw(num=3, seed=5) == draw(num=3, seed=5)
    assert draw(seed=5) != draw(seed=6)


def test_looks_stay_within_their_ranges_and_use_them():
    config = VisualRandomization()
    looks = draw(config, 400)
    angles = np.degrees([look.camera_rotation for look in looks])
    assert abs(angles).max() <= 5
    assert angles.max() > 4.8
    assert angles.min() < -4.8
    positions = np.array([look.camera_position for look in looks])
    assert 0.024 < abs(positions).max() <= 0.025
    assert {len(look.distractors) for look in looks} == {0, 1, 2, 3, 4}
    assert {len(look.lights) for look in looks} == {1, 2, 3}
    for name in ("lens_distortion", "blur", "noise", "exposure", "gloss", "jpeg_quality"):
        low, high = getattr(config, name)
        values = [getattr(look, name) for look in looks]
        assert low <= min(values) < low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) < max(values) <= high, name
    assert {look.table.pattern for look in looks} == set(config.table_patterns)
    assert {look.background.pattern for look in looks} == set(config.background_patterns)


def test_red_is_the_commonest_cube_and_not_the_only_one():
    colors = np.array([look.cube_color for look in draw(num=400)])
    red = (colors[:, 0] > 0.7) & (colors[:, 1:] < 0.3).all(1)
    assert 0.3 < red.mean() < 0.8


def test_nothing_can_be_mistaken_for_the_cube():
    for look in draw(num=200):
        for thing in look.distractors:
            assert np.linalg.norm(np.subtract(thing.color, look.cube_color)) > 0.2
            if thing.shape in ("box", "sheet"):
                assert max(thing.half_size) > 1.6 * min(thing.half_size)


def test_a_look_survives_json():
    for look in draw(num=20):
        assert Look.from_dict(json.loads(json.dumps(look.to_dict()))) == look
    assert Look.from_dict(NEUTRAL.to_dict()) == NEUTRAL


def test_widened_ranges_are_that_much_wider_about_their_middle():
    wide = VisualRandomization(exposure=(0.5, 1.5), blur=(1, 2), num_lights=(2, 3)).widened(1.2)
    assert wide.camera_rotation == pytest.approx(6)
    assert wide.exposure == pytest.approx((0.4, 1.6))
    assert wide.blur == pytest.approx((0.9, 2.1))
    assert wide.num_lights == (1, 4)
    assert wide.spot_probability == VisualRandomization().spot_probability


def test_widened_ranges_stay_possible():
    wide = VisualRandomization(enabled=True).widened(100)
    assert wide.enabled
    assert wide.noise[0] == 0
    assert wide.jpeg_quality == (5, 100)
    assert wide.table_brightness == (0, 1)
    draw(wide, 50)


def test_widening_by_one_changes_nothing():
    for item in fields(VisualRandomization):
        before, after = (
            getattr(config, item.name)
            for config in (VisualRandomization(), VisualRandomization().widened(1))
        )
        assert after == (before if isinstance(before, dict) else pytest.approx(before)), item.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"noise": (3, 1)},
            r"visual.noise=\(3, 1\) is not allowed; give \[lowest, highest\]",
        ),
        ({"blur": 3}, r"visual.blur=3 is not allowed; give \[lowest, highest\]"),
        ({"camera_fovy": -1.0}, "camera_fovy=-1.0 is not allowed; give a number from 0 to 30"),
        (
            {"spot_probability": 1.5},
            "spot_probability=1.5 is not allowed",
        ),
        ({"num_lights": (0, 1.5)}, "each a whole number from 0 to 5"),
        (
            {"cube_colors": {"pink": 1}},
            "pink.* is not allowed; give .*among white, grey",
        ),
        ({"table_patterns": {"wood": 0}}, "table_patterns=.* is not allowed; give .*not all 0"),
        (
            {"robot_colors": {"white": -1}},
            "robot_colors=.* is not allowed; give .*of 0 or more",
        ),
    ],
)
def test_impossible_ranges_are_refused_in_one_line(change, message):
    with pytest.raises(UserError, match=message) as caught:
        VisualRandomization(**change)
    assert "\n" not in str(caught.value)


def test_widening_by_less_than_nothing_is_refused():
    with pytest.raises(UserError, match="widen=-1 must be 0 or more"):
        VisualRandomization().widened(-1)


@pytest.mark.parametrize("shape", ["box", "sheet", "cylinder", "sphere", "ellipsoid", "capsule"])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.01, 0.02), (0.05, 0.0), (0.3, 0.1)])
def test_distractors_give_way_to_the_cube(shape, offset):
    thing = Distractor(shape, (0.2 + offset[0], offset[1]), 0.7, (0.03, 0.01, 0.01), (0, 0, 1))
    (placed,) = distractors.place([thing], np.array([0.2, 0.0, 0.1]), 0.015)
    distance = np.hypot(placed.pos[0] - 0.2, placed.pos[1])
    # The cube's and the thing's outer radii and the fingers' room between them.
    assert distance >= 0.999 * (np.sqrt(3) * 0.015 + np.hypot(0.03, 0.01) + 0.03)
    if offset == (0.3, 0.1):
        np.testing.assert_allclose(placed.pos[:2], thing.position)


@pytest.fixture(scope="module")
def config():
    visual = VisualRandomization(enabled=True)
    return LiftConfig(stage=0, randomization=RandomizationConfig(visual=visual))


def started(config, num_envs=3, seeds=(1, 2, 3)):
    task = LiftTask(config, num_envs, num_threads=1)
    task.seed(seeds)
    task.reset(np.arange(num_envs))
    return task


def test_without_randomisation_every_episode_looks_neutral_and_draws_nothing(config):
    plain, looked = started(LiftConfig(stage=0)), started(config)
    assert plain.sim.looks == [NEUTRAL] * 3
    assert "looks" not in plain.state_dict()
    np.testing.assert_array_equal(plain.sim.qpos, looked.sim.qpos)  # a start state is drawn first
    assert plain.sim.rngs[0].bit_generator.state != looked.sim.rngs[0].bit_generator.state


def test_each_member_has_its_own_look_and_a_reset_redraws_only_its_own(config):
    task = started(config)
    before = list(task.sim.looks)
    assert before[0] != before[1] != before[2] != before[0]
    task.reset(np.array([1]))
    assert [old == new for old, new in zip(before, task.sim.looks, strict=True)] == [
        True,
        False,
        True,
    ]


def test_a_member_looks_the_same_alone(config):
    together = started(config)
    alone = started(config, 1, (3,))
    assert alone.sim.looks[0] == together.sim.looks[2]


def test_looks_are_part_of_the_state(config):
    task = started(config)
    state = task.state_dict()
    other = started(config, seeds=(7, 8, 9))
    other.load_state_dict(state)
    assert other.sim.looks == task.sim.looks
    for each in (task, other):
        each.reset(np.array([0, 2]))
    assert other.sim.looks == task.sim.looks


def test_a_lighter_configuration_is_obeyed():
    nothing = VisualRandomization(
        camera_position=0.0, camera_rotation=0.0, camera_fovy=0.0, num_distractors=(0, 0)
    )
    (look,) = draw(replace(nothing, lens_distortion=(0, 0)))
    assert look.camera_position == look.camera_rotation == (0, 0, 0)
    assert look.camera_fovy == look.lens_distortion == 0
    assert look.distractors == ()
