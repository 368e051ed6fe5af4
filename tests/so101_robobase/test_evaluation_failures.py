"""Claims about why episodes failed, on recorded steps that are made up."""

import numpy as np
import pytest

from so101_robobase.evaluation.failures import LIFT_STEPS, Cause, cause, causes, moments
from so101_robobase.evaluation.gallery import row
from so101_robobase.evaluation.recording import Track
from so101_robobase.evaluation.report import failure_line
from so101_robobase.evaluation.statistics import Episode

LIFT_HEIGHT, TABLE = 0.08, 0.015
STEPS = 60


def episode(held=(), height=(), nearest=0.02, index=0, success=False, unstable=False):
    """`held` and `height`: (from step, to step, value) over an arm that never held a cube."""
    grasping, cube_z = np.zeros(STEPS, bool), np.full(STEPS, TABLE)
    for first, last in held:
        grasping[first:last] = True
    for first, last, z in height:
        cube_z[first:last] = z
    distance = np.full(STEPS, 0.2)
    distance[10] = nearest
    series = {"cube_z": list(cube_z), "is_grasping": list(grasping), "gripper_to_cube": distance}
    return Episode(index, index, success, 0.0, 120, cube_z.max(), unstable=unstable, **series)


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (episode(success=True), None),
        (episode(unstable=True, held=[(0, STEPS)]), Cause.UNSTABLE),
        (episode(nearest=0.09), Cause.NEVER_NEAR),
        (episode(nearest=0.02), Cause.NEVER_GRASPED),
        # Tossed up without being held: that was no lift.
        (episode(height=[(20, 30, 0.1)]), Cause.NEVER_GRASPED),
        (episode(held=[(20, 22)]), Cause.LOST),
        (episode(held=[(20, 22)], height=[(25, 30, 0.1)]), Cause.LOST),
        (episode(held=[(20, 30)], height=[(24, 30, 0.05)]), Cause.SLIPPED),
        (episode(held=[(20, 30)], height=[(24, 30, 0.09)]), Cause.DROPPED),
        (episode(held=[(20, 30), (40, 45)], height=[(24, 30, 0.09)]), Cause.DROPPED),
        (episode(held=[(20, STEPS)], height=[(30, STEPS, 0.05)]), Cause.TOO_LOW),
        (episode(held=[(20, STEPS)], height=[(30, STEPS, 0.09)]), Cause.LATE),
        (episode(held=[(STEPS - LIFT_STEPS + 1, STEPS)]), Cause.LATE),
        (episode(held=[(STEPS - LIFT_STEPS, STEPS)]), Cause.TOO_LOW),
    ],
)
def test_the_cause_is_what_the_steps_say(failed, expected):
    assert cause(failed, LIFT_HEIGHT) is expected


def test_a_lift_that_is_asked_to_go_higher_is_no_drop():
    slipped = episode(held=[(20, 30)], height=[(24, 30, 0.09)])
    assert cause(slipped, 0.12) is Cause.SLIPPED


def test_failures_are_counted_by_cause_the_most_frequent_first():
    played = [episode(index=k, nearest=0.09 if k == 2 else 0.02, success=k == 0) for k in range(9)]
    found = causes(played, LIFT_HEIGHT)
    assert list(found) == [Cause.NEVER_GRASPED, Cause.NEVER_NEAR]
    assert found[Cause.NEVER_GRASPED] == [1, 3, 4, 5, 6, 7, 8]
    line = failure_line(found)
    assert line == "failed: 7 never grasped (1, 3, 4, 5, 6, …); 1 never came near (2)"


def test_moments_are_states_in_order_and_begin_and_end_with_the_episode():
    assert moments(episode(height=[(29, 30, 0.02)])) == {
        0: "start",
        11: "gripper nearest",
        30: "cube highest",
        STEPS: "end",
    }
    told = moments(episode(held=[(24, 40)], height=[(29, 31, 0.05)]))
    assert told == {0: "start", 25: "first grasp", 30: "cube highest", STEPS: "end"}


def test_a_row_has_a_column_a_moment_and_needs_something_to_show():
    frames = [np.full((2, 84, 84), t % 6, np.uint8) for t in range(4)]
    track = Track(qpos=[np.zeros(13)] * 4, pictures=frames)
    drawn = row(track, {0: "start", 3: "end"}, None, "seg_depth", 96)
    assert drawn.shape[1] == 2 * 96
    assert not np.array_equal(drawn[-40:, :96], drawn[-40:, 96:])  # other classes
    with pytest.raises(ValueError, match="no views"):
        row(Track(qpos=[np.zeros(13)]), {0: "start"}, None, "state", 96)
