"""The scripted expert of the touch task: close the jaw on the way, go over the cube, then down."""

import numpy as np

from so101_robobase.arm.kinematics import rpy, yaw_rotation
from so101_robobase.tasks.steering import Plan, Steering
from so101_robobase.tasks.task import Task
from so101_robobase.tasks.teacher import Teacher
from so101_robobase.tasks.touch.task import CLOSED, top

OVER = 0.03  # m over the cube's top, from where the fingers go down
BESIDE = 0.006  # m in the plane from its middle, within which they do
PRESSED = 0.004  # m under the top: the goal of the way down


class TouchTeacher(Teacher):
    """Decides anew at every call; remembers nothing."""

    def __init__(self, task: Task):
        super().__init__(task)
        sim, config = task.sim, task.config
        limits = sim.scene.model.actuator_ctrlrange
        self._steering = Steering(config.control, sim.kinematics, limits, config.action_repeat)

    def act(self) -> np.ndarray:
        sim = self._task.sim
        tcp, tool = sim.kinematics.forward(sim.joint_pos)
        goal = top(sim)
        off = np.hypot(*(tcp - goal)[:, :2].T)
        down = (off < BESIDE) & (sim.joint_pos[:, -1] < CLOSED)
        goal[:, 2] += np.where(down, -PRESSED, OVER)
        goal[self._task.judge.met] = tcp[self._task.judge.met]
        jaw = np.full(len(tcp), self._steering.jaw_range[0])
        plan = Plan(goal, yaw_rotation(rpy(tool)[:, 2]), jaw)
        return self._steering.towards(plan, sim.joint_target).astype(np.float32)
