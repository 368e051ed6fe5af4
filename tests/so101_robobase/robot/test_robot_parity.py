"""The same start and actions give the same trajectory in training, on the simulated robot and on
emulated servos."""

import time
from pathlib import Path

import numpy as np
import pytest
from _audit import COUNT, Truth, Witness, judge
from empty_scene import Nothing, Table

from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.robot.emulator.shared import GOAL
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.clock import RealClock
from so101_robobase.robot.rollout.picture_stream import PromptPictures
from so101_robobase.robot.rollout.policy_camera import SimulatedPolicyCamera
from so101_robobase.robot.rollout.robot_policy import PolicyAction, RobotPolicy
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.rollout.workcell import SimulatedWorkcell
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import RESOLUTION, SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask

CONFIG = LiftConfig(stage=0)
POLICY = Path(__file__).parents[3] / "policies" / "whole_task_snapshot.pt"
STEPS = 50  # of the policy, 2 s
SHORT = 25  # in real time
ROUNDING = 1e-12  # rad and m: degrees and back


class Waves:
    """Every joint swings, each in its own time."""

    config = CONFIG

    def __init__(self):
        steps = np.arange(STEPS)[:, None]
        self.actions = 0.3 * np.sin(steps / np.array([4, 5, 6, 7, 8, 9]) + np.arange(6))

    def begin(self):
        self._next = iter(self.actions)

    def warm_up(self):
        pass

    def act(self, picture, joint_pos, joint_vel):
        return PolicyAction(next(self._next), None)


class Diary:
    """A policy that writes down what another does, and the state in which it does so.

    `begun` is what `at_begin` says when the episode begins.
    """

    def __init__(self, policy, state, at_begin):
        self.policy, self.config, self._state = policy, policy.config, state
        self._at_begin = at_begin
        self.begun = None
        self.actions, self.states = [], []

    def begin(self):
        self.policy.begin()
        self.begun = self._at_begin()

    def warm_up(self):
        self.policy.warm_up()

    def act(self, picture, joint_pos, joint_vel):
        decision = self.policy.act(picture, joint_pos, joint_vel)
        self.actions.append(decision.action)
        self.states.append(self._state())
        return decision


def make_rollout(model, driver, policy, clock, sight, scene, steps=STEPS):
    """One episode of `steps`; its safety filter, as in every rollout."""
    return Rollout(
        arm=assemble_arm(driver, model, clock),
        stream=sight,
        policy=policy,
        workcell=scene,
        kinematics=LiftTask(CONFIG, 1).sim.kinematics,
        start=start_pose(CONFIG),
        settings=RolloutSettings(episode_time=steps * policy.config.action_repeat * 0.02),
        say=lambda line: None,
    )


def in_training(config, state, target, actions):
    """qpos (T + 1, 13) and targets (T, 6) of the environment's task from a state of physics."""
    task = LiftTask(config, 1)
    task.reset(np.array([0]))
    memory = task.state_dict()
    memory["simulation"][0] = state
    memory["controller"]["target"][0] = target
    task.load_state_dict(memory)
    qpos, targets = [task.sim.qpos[0].copy()], []
    for action in actions:
        task.step(action[None])
        qpos.append(task.sim.qpos[0].copy())
        targets.append(task.sim.controller.target[0].copy())
    return np.array(qpos), np.array(targets), task


def on_simulated_robot(make_policy, resolution, steps=STEPS, blind=True):
    """One episode: diary, log, result.

    The diary's states are the whole state of physics and qpos; it begins with the last command.
    """
    body = Body(CONFIG)
    driver = SimulatedDriver(body, resolution=resolution)
    eyes = PromptPictures(SimulatedPolicyCamera(body.sim, body.config, driver.clock))
    diary = Diary(
        make_policy(body),
        lambda: (body.sim.engine.state[0].copy(), body.qpos),
        lambda: rollout.arm.command,
    )
    rollout = make_rollout(
        body.sim.scene.model,
        driver,
        diary,
        driver.clock,
        Nothing(driver.clock) if blind else eyes,
        Table() if blind else SimulatedWorkcell(body, 2_000_001),
        steps,
    )
    result = rollout.run()
    assert result.stopped is None
    return diary, rollout.arm.events, result


@pytest.mark.parametrize(
    ("resolution", "tolerance"), [(0, ROUNDING), (RESOLUTION, 3 * COUNT)], ids=["exact", "encoders"]
)
def test_the_simulated_robot_moves_as_the_arm_in_training(resolution, tolerance):
    diary, events, _ = on_simulated_robot(lambda body: Waves(), resolution)
    assert "limited" not in events.counts
    qpos, _, _ = in_training(CONFIG, diary.states[0][0], diary.begun, diary.actions)
    moved = np.ptp(qpos[:, :NUM_JOINTS], axis=0)
    assert (moved > 20 * COUNT).all()
    there = np.array([qpos for _, qpos in diary.states])
    np.testing.assert_allclose(there, qpos[:-1], rtol=0, atol=tolerance)


def test_a_cube_is_lifted_alike():
    """The shipped policy's own actions, contacts and all."""

    def shipped(body):
        return RobotPolicy(load_policy(POLICY), body.sim.kinematics)

    diary, events, result = on_simulated_robot(shipped, 0, steps=100, blind=False)
    assert result.outcomes[0].success
    assert "limited" not in events.counts
    qpos, _, task = in_training(diary.config, diary.states[0][0], diary.begun, diary.actions)
    qpos, there = qpos[:-1], np.array([qpos for _, qpos in diary.states])
    cube = slice(6, 9)
    touched = int(np.argmax(np.abs(qpos[:, cube] - qpos[0, cube]).max(axis=1) > 1e-6))
    assert 10 < touched < len(qpos)
    np.testing.assert_allclose(there[:touched], qpos[:touched], rtol=0, atol=ROUNDING)
    # Contacts make more of roundings; a cube's turn is no more than 0.2 degrees off.
    np.testing.assert_allclose(there[:, : cube.stop], qpos[:, : cube.stop], rtol=0, atol=1e-3)
    np.testing.assert_allclose(there, qpos, rtol=0, atol=2e-3)
    assert task.succeeded[0]


def on_emulated_servos(bus, calibration, model):
    """One episode of LeRobot's driver: witness, its looks, diary, goals at servos, arm, result.

    The diary's states are the emulator's; it begins with the last command and the number of
    commands before.
    """
    from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

    bus.begin(0)
    clock, looks, seen = RealClock(), [], len(bus.events())

    def look():
        looks.append(bus.state())
        return Truth(time.monotonic(), looks[-1].qpos[:NUM_JOINTS])

    witness = Witness(LeRobotDriver(bus.port, calibration), look)
    diary = Diary(Waves(), bus.state, lambda: (rollout.arm.command, len(witness.writes)))
    rollout = make_rollout(model, witness, diary, clock, Nothing(clock), Table(), SHORT)
    result = rollout.run()
    happened = bus.events()[seen:]
    return witness, looks, diary, happened[happened["kind"] == GOAL], rollout.arm, result


def test_emulated_servos_move_as_the_arm_in_training(bus, tmp_path):
    pytest.importorskip("lerobot")
    calibration = bus.write_calibration(tmp_path, "arm")
    body = Body(CONFIG)
    for _ in range(5):  # a busy machine makes times uncertain, and the emulator leave time out
        slips = bus.state().slips
        witness, looks, diary, goals, arm, result = on_emulated_servos(
            bus, calibration, body.sim.scene.model
        )
        if bus.state().slips > slips or result.stopped is not None:
            continue
        assert "limited" not in arm.events.counts
        found = judge(witness, goals, arm.safety, arm.units)
        assert found.violations == found.misread == 0
        (command, number), start = diary.begun, diary.states[0]
        body.begin(0)
        place(body.sim, start.qpos)

        # The same actions become the same commands.
        _, targets, _ = in_training(CONFIG, body.sim.engine.state[0].copy(), command, diary.actions)
        sent = np.array([arm.units.to_model(write.position) for write in witness.writes[number:]])
        np.testing.assert_allclose(sent[1 : 2 * SHORT : 2], targets, rtol=0, atol=ROUNDING)

        # These, when servos got them and as coarse as they got them, move the arm alike.
        looks = [look for look in looks if look.time > start.time]
        path = follow(body, goals, start, looks)
        true = np.array([look.qpos[:NUM_JOINTS] for look in looks])
        assert (np.ptp(true, axis=0) > 20 * COUNT).all()
        speed = np.abs([look.qvel for look in looks]).max(axis=0)
        late = 2 * body.timestep  # times are rounded to steps of physics, there and here
        if (np.abs(path - true) <= 2 * COUNT + late * speed).all():
            return
    pytest.fail("in none of five attempts did the arm move as it should")


def place(sim, qpos):
    """Arm and cube at rest at `qpos` (13,)."""
    sim.qpos[0], sim.qvel[0] = qpos, 0
    sim.put(sim.qpos[:, NUM_JOINTS:].copy())


def follow(body, goals, start, looks):
    """Joint positions (n, 6) of `body` at `looks`, told `goals` after `start` at their times."""
    target, now = start.target.copy(), start.time
    coming = list(goals[goals["time"] > start.time])
    path = []
    for look in looks:
        while coming and coming[0]["time"] <= look.time:
            goal = coming.pop(0)
            now = advance(body, target, now, goal["time"])
            target[goal["joint"]] = goal["angle"]
        now = advance(body, target, now, look.time)
        path.append(body.joint_pos)
    return np.array(path)


def advance(body, target, now, then):
    """Physics from `now` to `then` in whole steps; the time reached."""
    steps = int((then - now) / body.timestep + 1e-6)
    if steps:
        body.advance(target, steps)
    return now + steps * body.timestep
