"""The engine: our implementation of RoboBase's interface. Knows nothing of arms or cubes."""

import os

# Read by OpenMP (libgomp) when torch is first imported. Waiting threads spin for microseconds
# instead of milliseconds before they sleep: as fast on an idle machine, much faster on a busy one,
# where spinning takes the core that the thread waited for is to run on (devlog 001).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "1.0.0"
