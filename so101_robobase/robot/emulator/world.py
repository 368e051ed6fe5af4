"""Servos and simulated arm, moving in real time."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Faults
from so101_robobase.robot.emulator.hand import Hand
from so101_robobase.robot.emulator.servo import Servo
from so101_robobase.robot.emulator.servo_calibration import calibrate
from so101_robobase.robot.emulator.shared import GOAL, LIMP, STATE, EventWriter
from so101_robobase.robot.simulated.body import Body

_CATCH_UP = 0.05  # s, more than this behind the clock, the world slips


class World:
    """Six servos on the joints of one `Body`, under `faults`.

    Attributes:
        calibration: LeRobot's of this arm.
        simulated: s, of physics so far.
        hand: what moves joints without torque.
        slips, slipped: how often the world fell too far behind the clock, and s left out then.
    """

    def __init__(self, config: EmulatorConfig, faults: Faults, events: EventWriter):
        self.body = Body(config.task)
        self.faults, self._events = faults, events
        model = self.body.sim.scene.model
        self.calibration = calibrate(model.actuator_ctrlrange, config.arm)
        self.servos = [
            Servo(joint, replace(servo, id=config.ids[joint]), middle, partial(events.add, GOAL))
            for joint, (servo, middle) in enumerate(
                zip(self.calibration.servos, self.calibration.middle, strict=True)
            )
        ]
        self._ids = list(config.ids)
        self.simulated, self.slips, self.slipped = 0.0, 0, 0.0
        self._time = 0.0
        self._targets = np.zeros(NUM_JOINTS)
        self.hand, self._limp = Hand(), np.ones(NUM_JOINTS, bool)
        self.body.limp = True
        self.begin(config.seed)
        if config.pose is not None:
            self._place_arm(np.asarray(config.pose, np.float64))

    def start(self, now: float) -> None:
        """Let time run from `now`, s of the monotonic clock."""
        self._time = now

    def begin(self, seed: int) -> None:
        """Arm and cube as episode `seed` begins; servos with torque hold that pose."""
        self.body.begin(seed)
        self.hand.release()
        told = self.body.sim.joint_target[0]
        self._update_servos(0)
        for servo, angle in zip(self.servos, told, strict=True):
            servo.hold(float(angle))

    def place_cube(self, seed: int) -> None:
        """The cube alone as episode `seed` has it."""
        self.body.place_cube(seed)

    def advance(self, now: float) -> None:
        """Physics up to `now`, s of the monotonic clock; faults begin and end."""
        self.faults.update(now)
        self._apply_faults()
        behind = now - self._time
        if behind > _CATCH_UP:
            self.slips += 1
            self.slipped += behind - _CATCH_UP
            self._time = now - _CATCH_UP
        timestep = self.body.timestep
        substeps = int((now - self._time) / timestep)
        if substeps:
            held = self.hand.holds
            driven = [servo.target for servo in self.servos]
            self._targets[:] = np.where(held, self.hand.angles(now), driven)
            self.body.limp = self._limp & ~held
            self.body.advance(self._targets, substeps)
            self._time += substeps * timestep
            self.simulated += substeps * timestep
            self._update_servos(substeps * timestep)

    @property
    def next(self) -> float:
        """When there is a step to take, s of the monotonic clock."""
        return self._time + self.body.timestep

    def show(self, state: np.ndarray) -> None:
        """Fill in `state` (1,) of type `shared.STATE` what the world knows."""
        assert state.dtype == STATE
        body = self.body
        state["time"], state["simulated"] = self._time, self.simulated
        state["nq"] = nq = body.sim.qpos.shape[1]
        state["qpos"][:, :nq] = body.sim.qpos
        state["qvel"] = body.sim.joint_vel
        state["target"], state["limp"] = [servo.target for servo in self.servos], self._limp
        state["alarms"] = [servo.alarms for servo in self.servos]
        state["met"], state["succeeded"] = body.judge.met, body.succeeded
        state["held"] = body.held
        state["camera"], state["camera_every"] = self.faults.camera
        state["slips"], state["slipped"] = self.slips, self.slipped
        state["events"] = self._events.count

    def guide(self, goals: Mapping[int, float], seconds: float) -> None:
        """Let the hand bring joints, by number, to angles in rad. Raises ValueError."""
        present = self.body.joint_pos
        self.hand.guide(goals, seconds, self._time, present, self._limp)

    def after_packet(self) -> None:
        """Let torque that a packet switched take effect at once."""
        for servo in self.servos:
            self._switch(servo)

    def _apply_faults(self) -> None:
        for servo in self.servos:
            servo.set_conditions(self.faults.conditions(servo.id))
            self._switch(servo)
        self.body.faults.set_faults(self.faults.joints(self._ids), self.body.joint_pos)

    def _switch(self, servo: Servo) -> None:
        limp = servo.limp
        if limp != self._limp[servo.joint]:
            self._limp[servo.joint] = self.body.limp[servo.joint] = limp
            self.hand.release_stiff(self._limp)
            angle = float(self.body.sim.joint_pos[0, servo.joint])
            self._events.add(LIMP, servo.joint, int(limp), angle)

    def _update_servos(self, seconds: float) -> None:
        body, velocities = self.body, self.body.sim.joint_vel[0]
        for servo, angle, velocity, share in zip(
            self.servos, body.encoders, velocities, body.load, strict=True
        ):
            servo.update(float(angle), float(velocity), float(share), seconds)

    def _place_arm(self, pose: np.ndarray) -> None:
        sim = self.body.sim
        sim.qpos[0, :NUM_JOINTS], sim.qvel[0, :NUM_JOINTS] = pose, 0
        sim.put(sim.qpos[:, NUM_JOINTS:].copy())
        self._update_servos(0)
