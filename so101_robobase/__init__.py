"""The SO-101 plugin on top of RoboBase: lift environment, evaluation, perception, robot."""

import gymnasium

__version__ = "0.1.0"

gymnasium.register(
    id="so101_robobase/Lift-v0",
    entry_point="so101_robobase.lift_env:LiftEnv",
    vector_entry_point="so101_robobase.vector_env:LiftVectorEnv",
)
