"""A simulated arm with table and cube, driven by joint targets."""

from dataclasses import replace

import numpy as np

from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.servos import CommandDelay
from so101_robobase.robot.simulated.joint_faults import JointFaults
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import entry
from so101_robobase.tasks.task import make_simulation

_ONLY = np.array([0])
_EVERY = np.array([True])


class Body:
    """One arm, in SI units and rad, in the scene of `config`.

    Looks are randomised where `config` says so; physics, latencies and encoders are not: those are
    the driver's.

    Attributes:
        sim: the one arm; `sim.qpos` (1, nq) is its live state.
        config: the task that it is judged by.
        faults: of its joints.
        judge: of the task; a substep is one of its units.
        succeeded: the task was done since the cube was placed.
    """

    def __init__(self, config: TaskConfig):
        varied = config.randomization
        varied = replace(varied, physical=replace(varied.physical, enabled=False))
        scene = config.build_scene()
        self.config = replace(config, scene=scene.config, randomization=varied)
        self.sim = make_simulation(self.config, scene, num_envs=1, num_threads=1)
        task = entry(config.name).task
        self._starts = task.starts_class(self.config, self.sim)
        self._per_step = scene.config.substeps
        self.judge = task.judge_class(self.sim, self.config, self._per_step)
        model = scene.model
        self._greatest_torque = model.actuator_forcerange[:, 1].copy()  # N m
        self.faults = JointFaults(model)
        self.timestep = scene.config.timestep  # s
        self._substeps = 0  # since the cube was placed
        self._limp = np.zeros(NUM_JOINTS, bool)
        self.succeeded = False
        self._target = np.zeros(NUM_JOINTS)
        self._delay = CommandDelay(1, scene.servo_delay)
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
        return self.sim.joint_pos[0].copy()

    @property
    def qpos(self) -> np.ndarray:
        """Joints, the cube's position and quaternion, marks, (nq,)."""
        return self.sim.qpos[0].copy()

    @property
    def cube_pos(self) -> np.ndarray:
        """The cube's centre (3,) m."""
        return self.sim.cube_pos[0].copy()

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
        share = np.clip(self.sim.engine.holding_torque[0] / self._greatest_torque, -1, 1)
        share[-1] *= self.sim.scene.arm.gripper_torque
        return np.where(self._limp, 0.0, share)

    @property
    def held(self) -> float:
        """For how long the goal has been met, s."""
        return float(self.judge.count[0]) * self.timestep

    def begin(self, seed: int) -> None:
        """Arm and cube as episode `seed` of an evaluation begins."""
        self._begin(seed)
        self._target = self.sim.joint_target[0].copy()
        self._delay.fill(_ONLY, self._target)
        self._placed()

    def place_cube(self, seed: int) -> None:
        """The cube alone as in `begin(seed)`: what a person does between two episodes."""
        sim = self.sim
        state = sim.engine.state[0].copy()
        self._begin(seed)
        things = sim.qpos[:, NUM_JOINTS:].copy()
        sim.engine.state[0] = state
        sim.put(things)
        self._placed()

    def advance(self, target: np.ndarray, substeps: int | None = None) -> None:
        """`substeps` of `timestep` (default: a control step) with servos told `target` (6,) rad."""
        self._target[:] = target
        substeps = self._per_step if substeps is None else substeps
        singly = bool(self._limp.any()) or self.faults.any
        for _ in range(substeps if singly else 1):
            # A servo without torque follows wherever its joint goes.
            told = np.where(self._limp, self.sim.joint_pos, self._target)
            for late, steps in self._delay.send(told, _EVERY, 1 if singly else substeps):
                driven = self.faults.driven(late[0], self.joint_pos) if singly else late
                self.sim.drive(np.where(self._limp, told, driven), steps)
                self.faults.pass_time(steps * self.timestep)
        self._substeps += substeps
        self.sim.steps[0] = self._substeps // self._per_step  # flickering sight goes by it
        self.judge.advance(_EVERY, substeps)
        self.succeeded |= bool(self.judge.success[0])

    def _begin(self, seed: int) -> None:
        self._starts.seed([seed])
        self._starts.begin(_ONLY)

    def _placed(self) -> None:
        self._substeps = 0
        self.judge.reset(_ONLY)
        self.succeeded = False
