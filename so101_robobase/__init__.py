"""The SO-101 plugin on top of RoboBase: lift environment, evaluation, perception, robot."""

__version__ = "0.1.0"
