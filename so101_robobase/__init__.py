"""The SO-101 plugin on top of RoboBase: tasks, evaluation, perception, robot."""

import logging

import gymnasium

from robobase import registry
from so101_robobase.tasks import names

__version__ = "0.1.0"

# PyOpenGL remarks at each start on libraries that it could use. With MUJOCO_GL=egl it starts with
# the first import of mujoco, wherever that is.
logging.getLogger("OpenGL").setLevel(logging.WARNING)
# And Matplotlib in each process on a home that it cannot write to, where a temporary folder does.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

for _task in names():
    gymnasium.register(
        id=f"so101_robobase/{_task.capitalize()}-v0",
        entry_point="so101_robobase.envs.single_env:TaskEnv",
        vector_entry_point="so101_robobase.envs.vector_env:TaskVectorEnv",
        kwargs={"task": _task},
    )

registry.register(
    "environment",
    "so101_robobase.envs.factory.SO101Factory",
    earlier=["so101_robobase.factory.SO101Factory"],
)
registry.register("logger", "so101_robobase.training.logger.SB3Logger")
registry.register("ranking", "so101_robobase.training.keeper.by_success")
