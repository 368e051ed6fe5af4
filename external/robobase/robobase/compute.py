"""Which device and how many threads a run gets, alone or beside the other jobs of a multirun."""

import os
import sys

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from robobase.errors import UserError, first_line
from robobase.memory import keep_freed_memory

# The parent of a multirun tells its jobs through this variable how many run at the same time.
_CONCURRENT_JOBS = "ROBOBASE_CONCURRENT_JOBS"
# A cluster's launcher tells a job how many cores it asked for: not every cluster holds it to them.
_CORES = "ROBOBASE_CORES"


def pick_device(num_gpus: int) -> torch.device:
    """CUDA if `num_gpus` > 0 and there is one, else mps, else cpu; a multirun's jobs take turns."""
    if num_gpus < 0:
        raise UserError(f"num_gpus={num_gpus}: give 0 for the CPU, or how many GPUs may be used")
    if num_gpus == 0:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", _job_number() % min(num_gpus, torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 by itself: CUDA since Ampere, AVX512-BF16 and AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # torch >= 2.11
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return False


def usable_device(name: torch.device | str) -> torch.device:
    """The device of that name; "auto" is that of `pick_device`.

    Raises UserError if there is none.
    """
    try:
        device = pick_device(num_gpus=1) if name == "auto" else torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' cannot be used ({first_line(error)}); give cpu or auto"
        ) from error
    return device


def share_threads(num_threads: int | None) -> int:
    """Limit torch and OpenMP to this run's share of the cores and return it.

    Args:
        num_threads: the wish of the config; None divides the cores among the concurrent jobs.
    """
    if num_threads is not None and num_threads < 1:
        raise UserError(f"num_threads={num_threads}: give a number >= 1, or null for all cores")
    threads = num_threads or max(1, available_cores() // int(os.environ.get(_CONCURRENT_JOBS, "1")))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    keep_freed_memory()
    return threads


def announce_concurrent_jobs(jobs: int) -> None:
    """Make `share_threads` in every job started from here divide the cores by `jobs`."""
    os.environ[_CONCURRENT_JOBS] = str(jobs)


def announce_cores(cores: int) -> None:
    """Make `available_cores` here and in what is started from here `cores` at most."""
    os.environ[_CORES] = str(cores)


def describe(device: torch.device, threads: int) -> str:
    """`cuda:0 (NVIDIA H100), 8 CPU threads`."""
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}, {threads} CPU thread{'s' if threads > 1 else ''}"


def available_cores() -> int:
    """Cores this process may use, which a container or a scheduler may have limited."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, int(os.environ.get(_CORES, cores)))


def _job_number() -> int:
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return 0
    return int(HydraConfig.get().job.num)
