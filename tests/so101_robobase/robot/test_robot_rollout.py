"""The loop on a simulated arm: episodes, keys, faults, and how it leaves the arm."""

import itertools

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.arm_loop import HOLD, RELEASE
from so101_robobase.robot.loop.driver import DriverError, MotorHealth
from so101_robobase.robot.loop.dry_run import DryRun
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.robot_policy import PolicyAction
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.rollout.workcell import SimulatedWorkcell
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig


class Nodding:
    """A policy that moves one joint to and fro."""

    def __init__(self, config, action=None):
        self.config = config
        self._action = action
        self.begun = 0
        self.seen = []

    def begin(self):
        self.begun += 1

    def warm_up(self):
        pass

    def act(self, picture, joint_pos, joint_vel):
        self.seen.append((joint_pos, joint_vel))
        wave = np.zeros(6)
        wave[0] = np.sin(len(self.seen) / 5)
        return PolicyAction(wave if self._action is None else self._action, None)


class Blank:
    """Pictures of nothing, up to `broken` pictures."""

    def __init__(self, clock, broken=None, stuck=None):
        self._clock, self._broken, self._stuck = clock, broken, stuck
        self._count = 0
        self._time = 0.0
        self.closed = False

    def start(self):
        pass

    def latest(self):
        self._count += 1
        if self._broken is not None and self._count > self._broken:
            raise UserError("camera 0 has failed")
        if self._stuck is None or self._count < self._stuck:
            self._time = self._clock.now()
        return Picture(self._time, np.zeros((2, 84, 84), np.uint8), None)

    def close(self):
        self.closed = True


class Flaky(SimulatedDriver):
    """Fails to read where told to, and may be ill."""

    def __init__(self, body):
        super().__init__(body)
        self.reads = itertools.count()
        self.failing: set[int] = set()
        self.temperature = 30.0
        self.hot_from = 10**9
        self.told: list[tuple[float, np.ndarray]] = []
        self.count = 0
        self.complaints_from = 10**9
        self.deaf = []

    @property
    def alarms(self):
        return {"elbow_flex": ("overload",)} if self.count >= self.complaints_from else {}

    def retried(self):
        return ["no answer from gripper (id 6)"] if self.count == 50 else []

    def release(self):
        super().release()
        return self.deaf

    def read(self):
        self.count = next(self.reads)
        if self.count in self.failing:
            raise DriverError("no answer")
        return super().read()

    def write(self, position):
        self.told.append((self.clock.now(), np.array(position)))
        super().write(position)

    def health(self, joint):
        health = super().health(joint)
        if self.count >= self.hot_from:
            return MotorHealth(health.motor, 90.0, health.voltage, 0.0)
        return health


class Dog:
    """A watchdog that writes down what it is told."""

    def __init__(self):
        self.calls = []
        self.fires_at = 10**9

    @property
    def fired(self):
        return self.calls.count("beat") >= self.fires_at

    def beat(self):
        self.calls.append("beat")

    def abandon(self):
        self.calls.append("abandon")

    def dismiss(self):
        self.calls.append("dismiss")


class Notes:
    """Observer that writes down what it is told."""

    def __init__(self):
        self.calls = []

    def begin(self, episode):
        self.calls.append(("begin", episode))

    def tick(self, tick):
        self.calls.append(("tick", tick))

    def end(self, success, keep):
        self.calls.append(("end", success, keep))

    def close(self):
        self.calls.append(("close",))


@pytest.fixture
def make():
    """make(...) -> (rollout, driver, events), on a fresh simulated arm."""

    def build(
        settings=None, policy=None, stream=None, keys=None, driver=None, dry=False, asks=False
    ):
        config = LiftConfig(stage=0)
        body = Body(config)
        driver = driver(body) if driver else Flaky(body)
        events = EventLog()
        physics = body.sim.scene.model
        used = DryRun(driver) if dry else driver
        arm = assemble_arm(used, physics, driver.clock, events)
        scene = SimulatedWorkcell(body, 0)
        scene.asks = asks
        if asks:
            scene.succeeded = lambda: None
        lines = []
        rollout_watchdog = Dog()
        rollout = Rollout(
            arm=arm,
            stream=(stream or Blank)(driver.clock),
            policy=policy or Nodding(config),
            workcell=scene,
            kinematics=body.sim.kinematics,
            start=start_pose(config),
            settings=settings or RolloutSettings(episode_time=0.4),
            listeners=[Notes()],
            start_watchdog=lambda: rollout_watchdog,
            keys=keys or (lambda: None),
            say=lines.append,
        )
        rollout.lines, rollout.dog = lines, rollout_watchdog
        return rollout, driver, events

    return build


def test_episodes_begin_at_the_start_pose_and_the_arm_goes_back_and_lets_go(make):
    rollout, driver, events = make(RolloutSettings(num_episodes=2, episode_time=0.4))
    found = driver.body.joint_pos
    result = rollout.run()
    assert [outcome.success for outcome in result.outcomes] == [False, False]
    assert result.stopped is None
    assert result.left == RELEASE
    assert driver.body.limp.all()
    np.testing.assert_allclose(driver.body.joint_pos, found, atol=0.06)
    assert rollout.policy.begun == 2
    assert len(rollout.policy.seen) == 2 * 10  # 0.4 s at 25 Hz
    for joint_pos, _ in rollout.policy.seen[::10]:
        np.testing.assert_allclose(joint_pos, rollout.start, atol=0.06)
    assert events.counts["released"] == 1
    assert rollout.stream.closed
    assert not driver.connected


def test_velocities_are_those_of_the_simulation(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=0.6))
    true = []
    act = rollout.policy.act

    def spy(picture, joint_pos, joint_vel):
        true.append(driver.body.sim.joint_vel[0].copy())
        return act(picture, joint_pos, joint_vel)

    rollout.policy.act = spy
    rollout.run()
    measured = np.array([velocity for _, velocity in rollout.policy.seen])
    true = np.array(true)
    assert np.abs(true[:, 0]).max() > 0.3
    # Differences over 20 ms lag by half of that, and encoders have steps of 0.0015 rad.
    assert np.abs(measured[:, 0] - true[:, 0]).max() < 0.5 * np.abs(true[:, 0]).max()
    assert np.corrcoef(measured[:, 0], true[:, 0])[0, 1] > 0.9


def test_a_moment_without_answers_is_held_through(make):
    rollout, driver, events = make(RolloutSettings(episode_time=0.6))
    driver.failing = {20, 40}
    result = rollout.run()
    assert result.stopped is None
    assert events.counts["read_failed"] == 2


def test_an_arm_that_falls_silent_is_let_go_within_200_ms(make):
    rollout, driver, events = make(RolloutSettings(episode_time=10))
    driver.failing = set(range(120, 10**4))
    result = rollout.run()
    assert result.stopped
    assert result.left == RELEASE
    assert driver.body.limp.all()
    assert 120 <= driver.count <= 130  # ticks of 20 ms
    # Nothing was sent on what had been read more than two ticks before.
    last_good = driver.clock.now() - (driver.count - 119) * 0.02
    assert driver.told[-1][0] <= last_good + 0.041
    assert [event["kind"] for event in events.events][-2:] == ["stop", "released"]


def test_on_stop_hold_keeps_torque(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=10, on_stop=HOLD))
    driver.failing = set(range(120, 10**4))
    result = rollout.run()
    assert result.left == HOLD
    assert not driver.body.limp.any()


def test_a_hot_servo_ends_the_rollout(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=10))
    driver.hot_from = 150
    result = rollout.run()
    assert "90" in result.stopped
    assert driver.body.limp.all()


def test_a_lost_camera_ends_the_rollout(make):
    rollout, driver, _ = make(
        RolloutSettings(episode_time=10), stream=lambda clock: Blank(clock, broken=20)
    )
    result = rollout.run()
    assert result.stopped == "camera 0 has failed"
    assert driver.body.limp.all()


def test_a_camera_that_hangs_holds_then_ends_it(make):
    rollout, driver, events = make(
        RolloutSettings(episode_time=10), stream=lambda clock: Blank(clock, stuck=20)
    )
    result = rollout.run()
    assert result.stopped
    assert events.counts["hold"] == 1
    assert events.counts["same_frame"] >= 1
    assert driver.body.limp.all()


@pytest.mark.parametrize("bad", [np.full(6, np.nan), np.full(6, np.inf), np.full(6, 1e9)])
def test_a_policy_gone_astray_moves_nothing_outside_limits(make, bad):
    config = LiftConfig(stage=0)
    rollout, driver, events = make(RolloutSettings(episode_time=1), policy=Nodding(config, bad))
    result = rollout.run()
    joint_range = driver.body.sim.scene.model.actuator_ctrlrange
    told = np.array([driver.units.to_model(position) for _, position in driver.told])
    assert np.isfinite(told).all()
    assert (told >= joint_range[:, 0] - 1e-9).all()
    assert (told <= joint_range[:, 1] + 1e-9).all()
    if np.isfinite(bad).all():
        assert result.stopped is None
        assert events.counts["action_out_of_range"] == 50
    else:
        assert "nan or inf 5 times" in result.stopped
        assert events.counts["bad_action"] == 9  # every action would have been held for two ticks


def test_a_dry_run_sends_nothing(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=0.4), dry=True)
    found = driver.body.joint_pos
    rollout.run()
    assert driver.told == []
    assert driver.body.limp.all()
    assert len(rollout.policy.seen) == 10
    assert np.abs(driver.body.joint_pos - found).max() < 0.3  # but for sinking


def pressing(presses):
    """Keys pressed at given calls: {call: key}."""
    calls = itertools.count()
    return lambda: presses.get(next(calls))


def test_escape_ends_it_at_once(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=10), keys=pressing({60: "\x1b"}))
    result = rollout.run()
    assert result.stopped == "Esc pressed"
    assert driver.clock.now() == pytest.approx(61 * 0.02, abs=0.03)


def test_a_person_starts_judges_and_repeats(make):
    calls = itertools.count()
    script = iter([" ", "r", " ", "s", " ", "f", "q"])

    def keys():
        # One key every 30 ticks, once the arm has reached its start pose.
        return next(script, None) if next(calls) % 150 == 149 else None

    rollout, _, _ = make(RolloutSettings(num_episodes=3, episode_time=30), keys=keys, asks=True)
    result = rollout.run()
    assert [outcome.success for outcome in result.outcomes] == [True, False]
    ends = [call for call in rollout._listeners[0].calls if call[0] == "end"]
    assert ends == [("end", None, False), ("end", True, True), ("end", False, True)]
    assert result.stopped is None


def test_pause_stops_the_episodes_time(make):
    rollout, driver, _ = make(
        RolloutSettings(episode_time=0.4), keys=pressing({100: " ", 200: " "}), asks=False
    )
    quick, other, _ = make(RolloutSettings(episode_time=0.4))
    rollout.run()
    quick.run()
    assert len(rollout.policy.seen) == len(quick.policy.seen) == 10
    if rollout.lines and "paused; space goes on" in rollout.lines:
        assert driver.clock.now() > other.clock.now() + 1.5


def test_steps_wait_for_a_key(make):
    calls = itertools.count()
    rollout, _, _ = make(
        RolloutSettings(episode_time=0.2, step=True),
        keys=lambda: "n" if next(calls) % 25 == 24 else None,
    )
    rollout.run()
    assert len(rollout.policy.seen) == 5
    assert "n for the next action" in rollout.lines


def test_an_arm_that_cannot_connect_is_an_error_and_moves_nothing(make):
    class Missing(Flaky):
        def connect(self):
            raise UserError("port /dev/ttyACM0 does not exist")

    rollout, driver, _ = make(driver=Missing)
    with pytest.raises(UserError, match="does not exist"):
        rollout.run()
    assert driver.told == []


@pytest.mark.parametrize("error", [UserError, DriverError])
@pytest.mark.parametrize("on_stop", [RELEASE, HOLD])
def test_an_arm_that_fails_in_connecting_and_may_have_torque_is_left_to_the_watchdog(
    make, error, on_stop
):
    class Halfway(Flaky):
        def connect(self):
            self.deaf = ["gripper"]
            raise error("the servos could not be set up")

    rollout, _, _ = make(RolloutSettings(on_stop=on_stop), driver=Halfway)
    if error is UserError:
        with pytest.raises(UserError, match="set up; torque may still be on in gripper"):
            rollout.run()
    else:
        assert rollout.run().unconfirmed == ["gripper"]
    assert rollout.dog.calls[-1] == "abandon"


def test_an_arm_that_answers_only_the_connection_is_let_go(make):
    rollout, driver, events = make()
    driver.failing = {0}
    result = rollout.run()
    assert result.stopped
    assert driver.body.limp.all()
    assert events.counts["released"] == 1


def test_a_servo_that_complains_ends_it_at_that_tick(make):
    rollout, driver, events = make(RolloutSettings(episode_time=10))
    driver.complaints_from = 130
    result = rollout.run()
    assert result.stopped == "elbow_flex is overloaded"
    assert driver.count == 130
    assert events.counts["retried"] == 1


def test_the_watchdog_is_told_of_every_tick_and_dismissed(make):
    rollout, driver, _ = make()
    rollout.run()
    beats = rollout.dog.calls.count("beat")
    assert beats == driver.count + 1  # at the connection, which reads, and once more after it
    assert rollout.dog.calls[0] == "beat"
    assert rollout.dog.calls[-1] == "dismiss"
    assert "abandon" not in rollout.dog.calls


def test_the_watchdog_goes_on_where_servos_did_not_confirm(make):
    rollout, driver, events = make()
    driver.deaf = ["gripper"]
    result = rollout.run()
    assert result.unconfirmed == ["gripper"]
    assert rollout.dog.calls[-1] == "abandon"
    assert "dismiss" not in rollout.dog.calls
    assert events.counts["watchdog_goes_on"] == 1


def test_a_watchdog_that_has_fired_ends_it(make):
    rollout, driver, _ = make(RolloutSettings(episode_time=10))
    rollout.dog.fires_at = 100
    result = rollout.run()
    assert "watchdog" in result.stopped
    assert driver.body.limp.all()


def test_an_episode_waits_for_a_picture_of_its_own_table(make):
    class Slow(Blank):
        """Its pictures are 0.1 s old."""

        def latest(self):
            return super().latest()._replace(time=self._clock.now() - 0.1)

    rollout, _, _ = make(RolloutSettings(episode_time=0.4), stream=Slow)
    prepared = []
    rollout.workcell.prepare = lambda episode: prepared.append(rollout.arm.clock.now())
    first = []
    act = rollout.policy.act
    rollout.policy.act = lambda *seen: first.append(rollout.arm.clock.now()) or act(*seen)
    rollout.run()
    assert first[0] >= prepared[0] + 0.1
