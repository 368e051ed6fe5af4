"""A simulated arm with table and cube, driven by joint targets."""

from dataclasses import replace

import numpy as np

from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.servos import CommandDelay
from so101_robobase.robot.simulated.joint_faults import JointFaults
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask

_ONLY = np.array([0])
_EVERY = np.array([True])


class Body:
    """One arm, in SI units and rad, in the scene of `config`.

    Looks are randomised where `config` says so; physics, latencies and encoders are not: those are
    the driver's.

    Attributes:
        task: the simulation; `task.sim.qpos` (1, 13) is its live state.
        faults: of its joints.
        held: s, for how long the cube has been held above the lift height.
        succeeded: the cube was held for `hold_steps` since it was placed.
    """

    def __init__(self, config: LiftConfig):
        varied = config.randomization
        varied = replace(varied, physical=replace(varied.physical, enabled=False))
        config = replace(config, randomization=varied, teacher=False)
        self.task = LiftTask(config, num_envs=1, num_threads=1)
        self._qfrc = [
            self.task.sim.batch.bind(name)
            for name in ("qfrc_bias", "qfrc_passive", "qfrc_constraint")
        ]
        model = self.task.sim.scene.model
        self._greatest_torque = model.actuator_forcerange[:, 1].copy()  # N m
        self.faults = JointFaults(model)
        self.timestep = self.task.sim.scene.config.timestep  # s
        self._control_step = config.scene.substeps  # substeps
        self._needed = config.hold_steps * self._control_step  # substeps
        self._substeps = self._substeps_held = 0  # since the cube was placed, and with it lifted
        self._limp = np.zeros(NUM_JOINTS, bool)
        self.succeeded = False
        self._target = np.zeros(NUM_JOINTS)
        self._delay = CommandDelay(1, self.task.sim.scene.servo_delay)
        self.begin(0)

    @property
    def limp(self) -> np.ndarray:
        """Servos without torque (6,) bool, live: they give way, only friction holds their joints.

        May be set as a whole: `body.limp = True`.
        """
        return self._limp

    @limp.setter
    def limp(self, value: np.ndarray | bool) -> None:
        self._limp[:] = value

    @property
    def joint_pos(self) -> np.ndarray:
        """True joint positions (6,) rad."""
        return self.task.sim.joint_pos[0].copy()

    @property
    def qpos(self) -> np.ndarray:
        """Joints, then the cube's position and quaternion, (13,)."""
        return self.task.sim.qpos[0].copy()

    @property
    def cube_pos(self) -> np.ndarray:
        """The cube's centre (3,) m."""
        return self.task.sim.cube_pos[0].copy()

    @property
    def encoders(self) -> np.ndarray:
        """What the encoders show (6,) rad: the true positions, where `faults` leave them."""
        return self.faults.shown(self.joint_pos)

    @property
    def load(self) -> np.ndarray:
        """What the servos hold, (6,) signed shares of their greatest torque, as servos tell it.

        Weight, contact, friction and damping. Not what only accelerates a joint: the model's servos
        give their full torque from 3 mrad on, real ones only where a joint is kept from moving.
        """
        bias, passive, constraint = (force[0, :NUM_JOINTS] for force in self._qfrc)
        share = np.clip((bias - passive - constraint) / self._greatest_torque, -1, 1)
        share[-1] *= self.task.sim.scene.arm.gripper_torque
        return np.where(self._limp, 0.0, share)

    @property
    def held(self) -> float:
        return self._substeps_held * self.timestep

    def begin(self, seed: int) -> None:
        """Arm and cube as episode `seed` of an evaluation begins."""
        self.task.seed([seed])
        self.task.reset(_ONLY)
        self._target = self.task.sim.joint_target[0].copy()
        self._delay.fill(_ONLY, self._target)
        self._placed()

    def place_cube(self, seed: int) -> None:
        """The cube alone as in `begin(seed)`: what a person does between two episodes."""
        state = self.task.sim.batch.state[0].copy()
        self.task.seed([seed])
        self.task.reset(_ONLY)
        position, quaternion = self.task.sim.cube_pos.copy(), self.task.sim.cube_quat.copy()
        self.task.sim.batch.state[0] = state
        self.task.place_cube(position, quaternion)
        self._placed()

    def advance(self, target: np.ndarray, substeps: int | None = None) -> None:
        """`substeps` of `timestep` (default: a control step) with servos told `target` (6,) rad."""
        self._target[:] = target
        substeps = self._control_step if substeps is None else substeps
        singly = bool(self._limp.any()) or self.faults.any
        for _ in range(substeps if singly else 1):
            # A servo without torque follows wherever its joint goes.
            told = np.where(self._limp, self.task.sim.joint_pos, self._target)
            for late, steps in self._delay.send(told, _EVERY, 1 if singly else substeps):
                driven = self.faults.driven(late[0], self.joint_pos) if singly else late
                self.task.drive(np.where(self._limp, told, driven), steps)
                self.faults.pass_time(steps * self.timestep)
        self._substeps += substeps
        # Flickering sight goes by it.
        self.task.episode_steps[0] = self._substeps // self._control_step
        lifted = bool(self.task.lifted[0])
        self._substeps_held = self._substeps_held + substeps if lifted else 0
        self.succeeded |= self._substeps_held >= self._needed

    def _placed(self) -> None:
        self._substeps = self._substeps_held = 0
        self.succeeded = False
