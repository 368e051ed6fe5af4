"""Every reward version equals values worked out by hand from the published formulas."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.tasks.lift.rewards import TERMS, VERSIONS, Reward, RewardSignals

# The reach terms of the states below, from 1 - tanh(10 d).
R_5CM = 0.5378828427399902  # d = 0.05
R_1CM = 0.9003320053750442  # d = 0.01
R_2CM = 0.8026246797750967  # d = 0.02
R_3CM = 0.7086873875484090  # d = 0.03


def signals(**values):
    defaults = {
        "tcp_to_cube": 0.05,
        "cube_z": 0.015,
        "grasping": False,
        "was_grasping": False,
        "hold_count": 0,
        "success": False,
        "jaw_angle": 1.0,
        "moving_pad_to_cube": 0.05,
        "action_change_sq": 2.0,
        "steps_open": 0,
        "cube_speed": 0.0,
    }
    return RewardSignals(**{name: np.array([v]) for name, v in (defaults | values).items()})


def reward(version, state):
    return Reward(version, lift_height=0.08)(state)[0]


# Held at 10 cm for 5 steps with the action still changing; L = 0.085 / 0.065.
HELD = {
    "tcp_to_cube": 0.01,
    "cube_z": 0.10,
    "grasping": True,
    "was_grasping": True,
    "hold_count": 5,
    "jaw_angle": 0.15,
    "steps_open": 0,
}
L_HELD = 0.085 / 0.065
HELD_VALUES = {
    "v1": R_1CM + 0.25 + 1,
    "v2": R_1CM + 0.5 + 50 * 0.09 + 2,
    "v3": R_1CM + 0.25 + 40 * 0.09 + 10 * 0.09 + 1,
    "v4": R_1CM + 0.25 + 40 * 0.09 + 10 * 0.09 + 1,
    "v5": R_1CM + 0.25 + 40 * 0.09 + 10 * 0.09 + 1,
    "v6": R_1CM + 0.25 + 40 * 0.09 + 1,
    "v7": R_1CM + 0.25 + 1,
    "v8": R_1CM + 0.25 + 1,
    "v9": R_1CM + 0.25 + 2 * L_HELD + 1,
    "v10": R_1CM + 0.25 + 2 * L_HELD + 1,
    "v11": R_1CM + 0.25 + 2 * L_HELD + 1 + 1 - 0.01 * 2,
    "v13": R_1CM + 0.25 + 2 * L_HELD + 1 + 1 - 0.01 * 2,
    "v14": R_1CM + 0.25 + 2 * L_HELD + 1 + 1 - 0.02 * 2,
    "v15": R_1CM + 0.25 + 2 * L_HELD + 1 + 1 - 0.02 * 2,
    "v16": R_1CM + 1.5 + 2 * L_HELD + 1 + 1 - 0.02 * 2,
    "v17": (R_1CM + 1) / 2 + 1.5 + 2 * L_HELD + 1 + 1 - 0.02 * 2,
    "v18": (R_1CM + 1) / 2 + 1.5 + 4 * L_HELD + 1 + 2 + 1 - 0.02 * 2,
    "v19": (R_1CM + 1) / 2 + 1.5 + 4 * L_HELD + 1 + 2 + 1 + 0.5 * 5 - 0.02 * 2,
    "v20": R_1CM + R_1CM * R_5CM + 1 + 1 + 5 + 3,  # 10 cm is its goal
}

# Just dropped while pressed 4 mm into the table, jaw open, moving finger 3 cm away.
SUNK = {
    "tcp_to_cube": 0.02,
    "cube_z": 0.006,
    "was_grasping": True,
    "jaw_angle": 0.4,
    "moving_pad_to_cube": 0.03,
    "steps_open": 90,
}
SUNK_VALUES = {
    **dict.fromkeys(("v1", "v2", "v3", "v4"), R_2CM),
    **dict.fromkeys(("v5", "v6", "v7"), R_2CM - 50 * 0.004),
    **dict.fromkeys(("v8", "v9", "v10", "v11", "v13", "v14", "v16"), R_2CM - 50 * 0.004 - 2),
    "v15": R_2CM - 50 * 0.004 - 2 - 0.05,
    **dict.fromkeys(("v17", "v18", "v19"), (R_2CM + R_3CM) / 2 - 50 * 0.004 - 2),
    "v20": R_2CM + R_2CM * R_3CM - 50 * 0.004,
}

# Grasped and pressed 4 mm into the table: v3 goes on below zero, v4 does not pay at all.
PRESSED = {**SUNK, "grasping": True, "jaw_angle": 0.15, "steps_open": 0}
PRESSED_VALUES = {
    "v3": R_2CM + 0.25 - 40 * 0.004,
    "v4": R_2CM,
    "v5": R_2CM + 0.25 - 40 * 0.004 - 50 * 0.004,
    "v13": R_2CM + 0.25 - 50 * 0.004,
}

# On its way up at 6 cm: lift terms are partly paid, nothing is held yet.
RISING = {**HELD, "cube_z": 0.06, "hold_count": 0}
L_RISING = 0.045 / 0.065
RISING_VALUES = {
    "v2": R_1CM + 0.5 + 50 * 0.05,
    "v10": R_1CM + 0.25 + 2 * L_RISING + 1,
    "v11": R_1CM + 0.25 + 2 * L_RISING + 1,  # smoothness counts above 6 cm only
    "v14": R_1CM + 0.25 + 2 * L_RISING + 1,
    "v18": (R_1CM + 1) / 2 + 1.5 + 4 * L_RISING + 1 + 2 * 0.5,
    "v19": (R_1CM + 1) / 2 + 1.5 + 4 * L_RISING + 1 + 2 * 0.5,
    "v20": R_1CM + R_1CM * R_5CM + 1 + 1 + 5 * 0.045 / 0.085,
}


def test_the_hand_computed_tables_cover_every_version():
    assert list(VERSIONS) == [f"v{i}" for i in range(1, 21) if i != 12]  # the place task's
    assert set(HELD_VALUES) == set(SUNK_VALUES) == set(VERSIONS)
    assert {term for weights in VERSIONS.values() for term in weights} == set(TERMS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_held_cube_pays_what_the_formula_says(version):
    state = signals(**HELD)
    assert reward(version, state) == pytest.approx(HELD_VALUES[version], abs=1e-12)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cube_dropped_into_the_table_pays_what_the_formula_says(version):
    state = signals(**SUNK)
    assert reward(version, state) == pytest.approx(SUNK_VALUES[version], abs=1e-12)


@pytest.mark.parametrize("version", PRESSED_VALUES)
def test_a_grasped_cube_pressed_into_the_table_pays_what_the_formula_says(version):
    assert reward(version, signals(**PRESSED)) == pytest.approx(PRESSED_VALUES[version], abs=1e-12)


@pytest.mark.parametrize("version", RISING_VALUES)
def test_a_rising_cube_pays_what_the_formula_says(version):
    assert reward(version, signals(**RISING)) == pytest.approx(RISING_VALUES[version], abs=1e-12)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "v20"])
def test_success_adds_ten_in_every_version_of_the_original(version):
    without = reward(version, signals(**HELD))
    assert reward(version, signals(**HELD, success=True)) == pytest.approx(without + 10)


def test_v10_pays_for_being_at_the_lift_height():
    at, below = signals(**{**HELD, "cube_z": 0.084}), signals(**{**HELD, "cube_z": 0.086})
    assert reward("v10", at) == pytest.approx(reward("v9", at) + 1)
    assert reward("v10", below) == pytest.approx(reward("v9", below))


@pytest.mark.parametrize(("steps", "charge"), [(40, 0), (65, 0.025), (340, 0.3), (1000, 0.3)])
def test_v15_charges_for_a_jaw_that_stays_open(steps, charge):
    state = signals(steps_open=steps)
    assert reward("v15", state) == pytest.approx(reward("v14", state) - charge)


def test_v17_looks_at_the_moving_finger_only_near_the_cube():
    far = signals(tcp_to_cube=0.05, moving_pad_to_cube=0.0)
    near = signals(tcp_to_cube=0.01, moving_pad_to_cube=0.05)
    assert reward("v17", far) == pytest.approx(R_5CM)
    assert reward("v17", near) == pytest.approx((R_1CM + R_5CM) / 2)


def test_v20_pays_most_for_a_still_cube_at_its_goal():
    best = reward("v20", signals(**HELD))
    for height in (0.06, 0.081, 0.15, 0.3):
        assert reward("v20", signals(**{**HELD, "cube_z": height})) < best
    assert reward("v20", signals(**HELD, cube_speed=0.2)) == pytest.approx(best - 3 * np.tanh(1))
    assert reward("v20", signals(**HELD, success=True)) == best


def test_v20_never_charges_an_open_jaw_for_coming_nearer():
    steps = [signals(tcp_to_cube=d, moving_pad_to_cube=0.05) for d in np.linspace(0.1, 0, 50)]
    assert np.all(np.diff([reward("v20", step) for step in steps]) > 0)
    assert np.any(np.diff([reward("v19", step) for step in steps]) < 0)


def test_a_cube_lifted_without_a_grasp_earns_only_the_ungated_terms():
    state = signals(cube_z=0.09, tcp_to_cube=0.05)
    assert reward("v11", state) == pytest.approx(R_5CM + 1 + 1 - 0.01 * 2)
    assert reward("v13", state) == pytest.approx(R_5CM + 1 - 0.01 * 2)
    assert reward("v19", state) == pytest.approx(R_5CM + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_is_its_rows(version):
    rows = [
        signals(**HELD),
        signals(**SUNK),
        signals(**PRESSED),
        signals(**RISING),
    ]
    names = list(RewardSignals.__dataclass_fields__)
    batch = RewardSignals(
        **{name: np.concatenate([getattr(row, name) for row in rows]) for name in names}
    )
    np.testing.assert_array_equal(
        Reward(version)(batch), np.concatenate([Reward(version)(row) for row in rows])
    )


def test_bad_settings_are_named():
    with pytest.raises(UserError, match="reward_version='v99' is unknown; known: v1, v2"):
        Reward("v99")
    with pytest.raises(UserError, match=r"lift_height=0\.04 is too low"):
        Reward("v19", lift_height=0.04)
