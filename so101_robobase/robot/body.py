"""A simulated arm with table and cube, driven by joint targets."""

from dataclasses import replace

import numpy as np

from so101_robobase.config import LiftConfig
from so101_robobase.joints import NUM_JOINTS
from so101_robobase.sim.lift import LiftTask
from so101_robobase.sim.scene import SUBSTEPS

_ONLY = np.array([0])


class Body:
    """One arm, in SI units and rad; the scene, its cube and its randomised physics are `config`'s.

    Attributes:
        task: the simulation; `task.qpos` (1, 13) is its live state.
        limp: no torque: the servos give way, and only their friction holds the arm.
        held: s, for how long the cube has been held above the lift height.
        succeeded: the cube was held for `hold_steps` since it was placed.
    """

    def __init__(self, config: LiftConfig):
        self.task = LiftTask(replace(config, teacher=False), num_envs=1, num_threads=1)
        self._force = self.task.batch.bind("actuator_force")
        self.timestep = self.task.scene.config.timestep  # s
        self._needed = config.hold_steps * SUBSTEPS  # substeps
        self._substeps_held = 0
        self.limp = False
        self.succeeded = False
        self._target = np.zeros(NUM_JOINTS)
        self.begin(0)

    @property
    def joint_pos(self) -> np.ndarray:
        """True joint positions (6,) rad."""
        return self.task.joint_pos[0].copy()

    @property
    def qpos(self) -> np.ndarray:
        """Joints, then the cube's position and quaternion, (13,)."""
        return self.task.qpos[0].copy()

    @property
    def cube_pos(self) -> np.ndarray:
        """The cube's centre (3,) m."""
        return self.task.cube_pos[0].copy()

    @property
    def torque(self) -> np.ndarray:
        """Torques of the servos (6,) N m."""
        return self._force[0].copy()

    @property
    def held(self) -> float:
        return self._substeps_held * self.timestep

    def begin(self, seed: int) -> None:
        """Arm and cube as episode `seed` of an evaluation begins."""
        self.task.seed([seed])
        self.task.reset(_ONLY)
        self._target = self.task.joint_target[0].copy()
        self._placed()

    def place_cube(self, seed: int) -> None:
        """The cube alone as in `begin(seed)`: what a person does between two episodes."""
        state = self.task.batch.state[0].copy()
        self.task.seed([seed])
        self.task.reset(_ONLY)
        position, quaternion = self.task.cube_pos.copy(), self.task.cube_quat.copy()
        self.task.batch.state[0] = state
        self.task.place_cube(position, quaternion)
        self._placed()

    def advance(self, target: np.ndarray, substeps: int = SUBSTEPS) -> None:
        """`substeps` of `timestep` with the servos told `target` (6,) rad."""
        self._target[:] = target
        for _ in range(substeps if self.limp else 1):
            # A servo without torque follows wherever its joint goes.
            told = self.joint_pos if self.limp else self._target
            self.task.drive(told[None], 1 if self.limp else substeps)
        lifted = bool(self.task.lifted[0])
        self._substeps_held = self._substeps_held + substeps if lifted else 0
        self.succeeded |= self._substeps_held >= self._needed

    def _placed(self) -> None:
        self._substeps_held, self.succeeded = 0, False
