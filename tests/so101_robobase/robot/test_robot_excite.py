"""Excitations are played under the same watch as a policy, and what is kept is what was sent."""

import argparse

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, ServoModel, load, save
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.identify import excite_session, identify_command
from so101_robobase.robot.identify.excite import Excite
from so101_robobase.robot.identify.fit import HOME, excitation
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.arm_loop import HOLD, RELEASE
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.robot.recording.episode_logger import EpisodeLogger
from so101_robobase.robot.safety.filter import SafetyLimits
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.scene import SceneConfig
from so101_robobase.tasks.lift.config import LiftConfig

SOFT = ServoModel(
    (0.08, 0.12, 0.07, 0.05, 0.1, 0.09),
    (0.8, 1.3, 1.0, 1.2, 0.9, 1.1),
    (1.5, 2.0, 1.2, 2.5, 1.8, 1.6),
    (1.5, 1.8, 2.0, 1.2, 3.0, 2.5),
    0.034,
)
DURATION = 4.0  # s, the shortest


class Witness(SimulatedDriver):
    """Writes down what it is told and, where told to, does not answer."""

    def __init__(self, body):
        super().__init__(body)
        self.told: list[np.ndarray] = []
        self.reads = 0
        self.failing: set[int] = set()

    def read(self):
        self.reads += 1
        if self.reads in self.failing:
            raise DriverError("no answer")
        return super().read()

    def write(self, position):
        self.told.append(self.units.to_model(position))
        super().write(position)


class Guard:
    """A watchdog that counts."""

    fired = False

    def __init__(self):
        self.beats, self.dismissed = 0, False

    def beat(self):
        assert not self.dismissed
        self.beats += 1

    def dismiss(self):
        self.dismissed = True


@pytest.fixture
def make(tmp_path):
    """make(...) -> (excite, driver, events), of a fresh simulated arm."""

    def build(count=1, keys=None, on_stop=RELEASE, guard=None):
        driver = Witness(Body(LiftConfig(stage=0)))
        physics = driver.body.sim.scene.model
        joint_range = physics.actuator_ctrlrange
        events = EventLog()
        arm = assemble_arm(driver, physics, driver.clock, events)
        excite = Excite(
            arm,
            [excitation(joint_range, DURATION, seed=seed) for seed in range(count)],
            EpisodeLogger(tmp_path, {"source": "test"}),
            on_stop,
            start_watchdog=(lambda: guard) if guard else None,
            keys=keys or (lambda: None),
            say=lambda line: None,
        )
        return excite, driver, events

    return build


def kept(folder):
    return [EpisodeLog.load(path) for path in sorted(folder.glob("*.npz"))]


def test_episodes_begin_at_rest_and_hold_what_was_sent(make, tmp_path):
    guard = Guard()
    excite, driver, events = make(2, guard=guard)
    found = driver.body.joint_pos
    result = excite.run()
    assert (result.episodes, result.stopped, result.left) == (2, None, RELEASE)
    assert driver.body.limp.all()
    assert not driver.connected
    np.testing.assert_allclose(driver.body.joint_pos, found, atol=0.06)
    assert guard.dismissed
    assert guard.beats == 1 + result.timing.ticks  # once when it is connected
    assert events.counts["released"] == 1

    logs = kept(tmp_path)
    assert [log.meta["source"] for log in logs] == ["test", "test"]
    told = np.array(driver.told)
    limits = SafetyLimits()
    assert (np.abs(np.diff(told, axis=0)) <= np.array(limits.max_step) + 1e-6).all()
    for log in logs:
        assert len(log) == DURATION * 50
        np.testing.assert_allclose(np.diff(log.times), 0.02, atol=1e-6)
        np.testing.assert_allclose(log.measured[0], HOME, atol=0.06)
        assert np.abs(np.diff(log.measured[:5], axis=0)).max() < 0.01  # rad a tick
        assert (np.ptp(log.measured, axis=0) > np.deg2rad(5)).all()
        windows = np.lib.stride_tricks.sliding_window_view(told, len(log), axis=0)
        assert np.abs(windows - log.commanded.T).max(axis=(1, 2)).min() < 1e-9
    assert not np.array_equal(logs[0].commanded, logs[1].commanded)


def test_a_moment_without_answers_is_held_through(make, tmp_path):
    excite, driver, events = make()
    driver.failing = {300}  # within the episode
    result = excite.run()
    assert (result.episodes, result.stopped) == (1, None)
    assert events.counts["read_failed"] == 1
    (log,) = kept(tmp_path)
    steps = np.diff(log.times)
    assert steps.max() == pytest.approx(0.04, abs=1e-6)
    assert np.sum(steps > 0.03) == 1


def test_an_arm_that_falls_silent_is_let_go_and_finished_episodes_stay(make, tmp_path):
    excite, driver, _ = make(2)
    driver.failing = set(range(520, 10**4))  # in the second episode
    result = excite.run()
    assert result.stopped
    assert result.episodes == len(kept(tmp_path)) == 1
    assert driver.body.limp.all()
    assert driver.reads <= 520 + 10  # ticks of 20 ms


def test_escape_stops_at_once_and_hold_keeps_torque(make, tmp_path):
    presses = iter([None] * 250 + ["\x1b"])
    excite, driver, _ = make(keys=lambda: next(presses), on_stop=HOLD)
    result = excite.run()
    assert (result.stopped, result.left, result.episodes) == ("Esc pressed", HOLD, 0)
    assert not driver.body.limp.any()
    assert kept(tmp_path) == []


def test_q_goes_slowly_back(make, tmp_path):
    presses = iter([None] * 250 + ["q"])
    excite, driver, _ = make(2, keys=lambda: next(presses, None))
    found = driver.body.joint_pos
    result = excite.run()
    assert (result.stopped, result.left, result.episodes) == (None, RELEASE, 0)
    np.testing.assert_allclose(driver.body.joint_pos, found, atol=0.06)
    assert driver.body.limp.all()
    assert kept(tmp_path) == []


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    identify_command.configure(parser)
    return identify_command.run(parser.parse_args([str(argument) for argument in arguments]))


# (candidates, generations, how many times closer, s of latency)
QUICK, THOROUGH = (8, 8, 2, 0.03), (16, 18, 5, 0.02)


@pytest.mark.parametrize("search", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)])
def test_the_command_records_a_simulated_arm_and_finds_its_servos(tmp_path, capsys, search):
    population, generations, closer, latency = search
    output, folder = tmp_path / "arm.yaml", tmp_path / "recordings"
    save(Alignment(zero=(1.0, 2.0, 3.0, 4.0, 5.0), servos=SOFT), output)
    command = ("--record", folder, "--robot", "sim", "--output", output)
    fit = ("--population", population, "--generations", generations, "--num_threads", 1)
    assert run(*command, "--num_episodes", 2, "--duration", DURATION, *fit) == 0
    printed = capsys.readouterr().out
    assert "2 episodes recorded" in printed
    before, after = (
        float(line.split()[-1]) for line in printed.splitlines() if line.startswith("all joints")
    )
    assert after < before / closer
    alignment = load(output)
    assert alignment.zero == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert alignment.servos is not None
    assert alignment.servos != SOFT
    assert alignment.servos.latency == pytest.approx(SOFT.latency, abs=latency)
    assert EpisodeLog.load(folder / "episode_000.npz").meta["alignment"]["zero"] == [1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="holds recordings already"):
        run(*command)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give recordings to fit to, or --record"),
        ((__file__, "--no_fit"), "--no_fit needs --record"),
        (("--record", "x"), "--record needs --port and --calibration"),
        (("--record", "x", "--robot", "sim", "--duration", 3), "give 4 or more"),
        (("--record", "x", "--robot", "sim", "--num_episodes", 0), "give 1 or more"),
    ],
)
def test_the_command_says_what_it_needs(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        run("--output", "arm.yaml", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_command_moves_an_arm_only_with_a_persons_consent(bus, tmp_path, monkeypatch):
    pytest.importorskip("lerobot")
    calibration = bus.write_calibration(tmp_path, "arm")
    arm = ("--port", bus.port, "--calibration", calibration)
    folder, output = tmp_path / "recordings", tmp_path / "arm.yaml"
    monkeypatch.setattr(excite_session, "has_keys", lambda: False)
    told = len(bus.commands())
    with pytest.raises(UserError, match="add --yes if a person watches"):
        run("--record", folder, "--output", output, *arm)
    save(Alignment(arm="another"), output)
    with pytest.raises(UserError, match=r"measured on the arm another, .* is of arm"):
        run("--record", folder, "--output", output, *arm, "--yes")
    assert len(bus.commands()) == told


@pytest.mark.slow
def test_an_arm_on_a_port_is_recorded_and_its_servos_found(tmp_path, capsys):
    """LeRobot's driver, real bytes, the watchdog and limits of a real arm; servos are soft."""
    pytest.importorskip("lerobot")
    lift = LiftConfig(stage=0, scene=SceneConfig(servos=SOFT))
    folder, output = tmp_path / "recordings", tmp_path / "arm.yaml"
    with EmulatedBus(EmulatorConfig(lift, pose=(0.0, -1.7, 1.6, 0.8, 0.0, 0.0))) as bus:
        arm = ("--port", bus.port, "--calibration", bus.write_calibration(tmp_path, "arm"))
        command = ("--record", folder, "--output", output, *arm, "--yes", "--num_threads", 1)
        search = ("--population", 16, "--generations", 18)
        assert run(*command, "--num_episodes", 2, "--duration", 6, *search) == 0
        assert bus.state().limp.all()
    assert all(np.abs(log.measured[0] - HOME).max() < 0.06 for log in kept(folder))
    assert not (folder / "watchdog.log").exists()  # it had nothing to do
    before, after = (
        float(line.split()[-1])
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("all joints")
    )
    assert after < before / 5
    assert load(output).servos is not None


@pytest.mark.slow
def test_emulated_servos_are_not_put_together_like_the_arm_of_the_alignment(tmp_path):
    pytest.importorskip("lerobot")
    folder, output = tmp_path / "recordings", tmp_path / "arm.yaml"
    save(Alignment(zero=(9.0, 9.0, 9.0, 9.0, 9.0), servos=SOFT), output)
    command = ("--record", folder, "--robot", "emulated", "--output", output, "--no_fit")
    assert run(*command, "--num_episodes", 1, "--duration", DURATION) == 0
    (log,) = kept(folder)
    np.testing.assert_allclose(log.measured[0], HOME, atol=0.06)
