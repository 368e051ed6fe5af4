"""The engine: our implementation of RoboBase's interface. Knows nothing of arms or cubes."""

import os

# Read by OpenMP when torch is first imported: idle threads sleep instead of spinning, which on a
# busy machine costs several times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "1.0.0"
