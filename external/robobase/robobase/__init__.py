"""The engine: our implementation of RoboBase's interface. Knows nothing of arms or cubes."""

__version__ = "1.0.0"
