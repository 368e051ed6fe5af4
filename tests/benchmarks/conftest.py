"""Benchmarks are scripts, not a package: their folder is where they import from each other."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
