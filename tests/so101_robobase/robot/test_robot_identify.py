"""Servos are identified from recordings that were made with others."""

import argparse

import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, ServoModel, load, save
from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.cma_es import CMAES
from so101_robobase.robot.identify import identify_command
from so101_robobase.robot.identify.fit import HOME, excitation, identify
from so101_robobase.robot.identify.tracking import Tracker
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.sim.scene import SceneConfig, build_scene

RESOLUTION = 2 * np.pi / 4096  # rad, of the encoders
JOINT_RANGE = build_scene().model.actuator_ctrlrange
TRUE = ServoModel(
    (0.08, 0.12, 0.07, 0.05, 0.1, 0.09),
    (0.8, 1.3, 1.0, 1.2, 0.9, 1.1),
    (1.5, 2.0, 1.2, 2.5, 1.8, 1.6),
    (1.5, 1.8, 2.0, 1.2, 3.0, 2.5),
    0.034,
)


def recorded(duration: float, seed: int, servos: ServoModel = TRUE) -> EpisodeLog:
    """An excitation of an arm with `servos`, seen through encoders."""
    commanded = excitation(JOINT_RANGE, duration, seed=seed)
    times = np.arange(len(commanded)) / 50
    blank = EpisodeLog(times, np.tile(HOME, (len(times), 1)), commanded)
    path = Tracker(build_scene(SceneConfig(servos=servos))).track(blank)[0]
    return EpisodeLog(times, np.round(path / RESOLUTION) * RESOLUTION, commanded)


def run(command, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(arguments))


@pytest.fixture(scope="module")
def logs():
    return [recorded(4.0, seed) for seed in range(2)]


def test_cmaes_finds_the_end_of_a_curved_valley():
    search = CMAES(np.full(4, -1.0), 0.5, 12, np.random.default_rng(0))
    for _ in range(300):
        x = search.ask()
        search.tell(x, (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1))
    np.testing.assert_allclose(search.mean, 1, atol=1e-4)


def test_cmaes_survives_costs_that_are_nan():
    search = CMAES(np.zeros(2), 1.0, 8, np.random.default_rng(0))
    for _ in range(60):
        x = search.ask()
        search.tell(x, np.where(x[:, 0] > 0.5, np.nan, ((x - 0.4) ** 2).sum(axis=1)))
    np.testing.assert_allclose(search.mean, 0.4, atol=1e-2)


@pytest.mark.slow
def test_held_out_recordings_are_followed_five_times_better(logs):
    found = identify(build_scene(), logs[:1], logs[1:], population=16, generations=(18, 5))
    assert found.after.overall < found.before.overall / 5
    assert found.servos.latency == pytest.approx(TRUE.latency, abs=0.012)
    # What a servo resists motion with in proportion to speed, over what it pulls with.
    ratio = [
        (2.731 * np.array(s.damping) + 0.6 * np.array(s.joint_damping)) / np.array(s.stiffness)
        for s in (TRUE, found.servos)
    ]
    assert np.median(np.abs(ratio[1] / ratio[0] - 1)) < 0.35


@pytest.mark.slow
def test_with_time_what_is_left_is_a_twentieth():
    logs = [recorded(6.0, seed) for seed in range(3)]
    found = identify(build_scene(), logs[:2], logs[2:])
    assert found.after.overall < found.before.overall / 20
    assert found.servos.latency == pytest.approx(TRUE.latency, abs=0.005)


def test_a_joint_that_stays_still_keeps_the_models_servo(logs):
    """Nothing is known about it, so nothing is claimed."""
    commanded = logs[0].commanded.copy()
    commanded[:, 4] = HOME[4]
    blank = EpisodeLog(logs[0].times, np.tile(HOME, (len(commanded), 1)), commanded)
    path = Tracker(build_scene(SceneConfig(servos=TRUE))).track(blank)[0]
    log = EpisodeLog(blank.times, path, commanded)
    found = identify(build_scene(), [log], [log], population=8, generations=(2, 1))
    factors = [found.servos.stiffness, found.servos.damping, found.servos.joint_friction]
    assert [values[4] for values in factors] == [1, 1, 1]
    assert all(values[0] != 1 for values in factors)


def test_identify_says_what_it_needs(logs):
    scene = build_scene()
    with pytest.raises(UserError, match="at least two recordings"):
        identify(scene, logs, [])
    still = EpisodeLog([0, 1], np.zeros((2, 6)), np.zeros((2, 6)))
    with pytest.raises(UserError, match="no joint moves"):
        identify(scene, [still], [still])
    with pytest.raises(UserError, match="alignment's servos already"):
        identify(build_scene(SceneConfig(servos=TRUE)), logs[:1], logs[1:])


def test_the_command_writes_what_the_environment_reads(logs, tmp_path, capsys):
    for k, log in enumerate(logs):
        log.save(tmp_path / f"{k}.npz")
    output = tmp_path / "arm.yaml"
    save(Alignment(zero=(1.0, 2.0, 3.0, 4.0, 5.0)), output)
    command = [str(tmp_path), "--output", str(output)]
    assert run(identify_command, *command, "--population", "8", "--generations", "9") == 0
    printed = capsys.readouterr().out
    assert "judged on 1 others" in printed
    assert all(printed.count(joint) == 3 for joint in JOINTS)  # before, after, factors
    alignment = load(output)
    assert alignment.zero == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert alignment.servos is not None
    scene = build_scene(SceneConfig(alignment=str(output)))
    gain = build_scene().model.actuator_gainprm[:, 0]
    np.testing.assert_allclose(
        scene.model.actuator_gainprm[:, 0], gain * alignment.servos.stiffness
    )
    with pytest.raises(UserError, match="another --held_out"):
        run(identify_command, *command, "--held_out", "2")


@pytest.mark.parametrize("seed", range(3))
def test_excitations_move_every_joint_slowly_within_limits_and_clear_of_everything(seed):
    targets = excitation(JOINT_RANGE, 12, seed=seed)
    assert targets.shape == (600, 6)
    np.testing.assert_allclose(targets[[0, -1]], [HOME, HOME], atol=0.02)
    assert (targets > JOINT_RANGE[:, 0]).all()
    assert (targets < JOINT_RANGE[:, 1]).all()
    assert (np.ptp(targets, axis=0) > 0.35).all()
    assert np.abs(np.diff(targets, axis=0)).max() < 0.25  # a step: no way to slow servos down
    model = build_scene().model
    data = mujoco.MjData(model)
    lowest = np.inf
    for target in targets[::5]:
        data.qpos[:6] = target
        data.qpos[6:9] = (5, 5, 0.015)
        mujoco.mj_forward(model, data)
        bodies = model.geom_bodyid[
            [c.geom1 for c in data.contact] + [c.geom2 for c in data.contact]
        ]
        assert set(bodies) <= {0, model.body("cube").id}
        lowest = min(lowest, data.site("gripperframe").xpos[2])
    assert lowest > 0.1


def test_an_excitation_that_is_too_short_is_refused():
    with pytest.raises(UserError, match="give 4 or more"):
        excitation(JOINT_RANGE, 2)
