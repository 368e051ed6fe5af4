"""Keep memory that tensors gave back, instead of returning it to the kernel at every update."""

import ctypes
import sys
from pathlib import Path

GIB = 2**30

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Let malloc reuse freed blocks of any size; True where the C library can be told so.

    glibc maps every large block afresh and unmaps it when freed, so each batch and each activation
    costs its page faults again: 345,000 in one default DrQ-v2 update at batch 256, which took 1.6
    times as long (`benchmarks/update_throughput.py`). The process keeps its peak memory to its end.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library than glibc
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def available_memory() -> int | None:
    """Bytes that this process may still allocate, by the machine and by its control group."""
    limits = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        limits.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such control group, or its limit reads "max"
        pass
    return min(limits) if limits else None
