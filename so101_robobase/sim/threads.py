"""How many threads physics may use."""

import os


def usable_threads() -> int:
    """Cores that this process may use, or fewer where OMP_NUM_THREADS says so.

    `robobase.train` sets that variable to the share of the cores that a run has.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(limit)) if limit.isdigit() and int(limit) else cores or 1
