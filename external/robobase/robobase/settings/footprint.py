"""How much memory a run will need, told before it starts, by what takes most of it."""

import itertools
import math
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from robobase.memory import GIB, available_memory

_PROGRAM = GIB  # torch, a simulator, and what allocators keep
_ROW = 64  # bytes of a transition beside its frame: action, reward, flags
_FLOAT = 4
_LEARNT = 4  # copies of a weight: itself, its gradient, and two of Adam's
_ADVICE = {
    "replay": "replay.size (or set replay.memory_mapped=true)",
    "demonstrations": "demos",
    "environments": "num_train_envs and num_eval_envs",
    "learning": "batch_size, frame_stack, the pictures' size or the networks",
}


class TaskMemory(NamedTuple):
    """Bytes of one simulated environment, and of one frame of what it shows."""

    simulation: int
    frame: int


def check_memory(cfg: DictConfig, task: TaskMemory | None) -> None:
    """Raise UserError with an estimate where a run needs more memory than is free.

    `task` says what an environment takes; None, and only the networks are counted.
    """
    free = available_memory()
    parts = estimate(cfg, task)
    needed = sum(parts.values()) + _PROGRAM
    if free is None or needed <= free:
        return
    largest = sorted(parts, key=lambda part: -parts[part])
    told = ", ".join(f"{part} {_gib(parts[part])}" for part in largest if parts[part])
    raise UserError(
        f"this run needs about {_gib(needed)} GiB of memory ({told}); {_gib(free)} GiB are free; "
        f"lower {_ADVICE[largest[0]]}"
    )


def estimate(cfg: DictConfig, task: TaskMemory | None) -> dict[str, int]:
    """Bytes by part: replay, demonstrations, environments, learning (on the CPU alone)."""
    parts = {"learning": 0 if _learns_on_gpu(cfg) else _learning(cfg)}
    if task is None:
        return parts
    row = task.frame + _ROW
    length = cfg.env.episode_length // (cfg.action_repeat * cfg.action_sequence) + 1
    rows = 0 if _rollout_length(cfg) else cfg.replay.size
    if cfg.demo_batch_size is not None:
        rows += cfg.replay.demo_size or cfg.replay.size
    evaluated = min(cfg.num_eval_episodes, cfg.num_eval_envs)
    seen = task.frame * cfg.frame_stack * (2 + (_rollout_length(cfg) or 0))
    return parts | {
        "replay": 0 if cfg.replay.memory_mapped else rows * row,
        "demonstrations": int(min(max(cfg.demos, 0), 10**9)) * length * row,
        "environments": (cfg.num_train_envs + evaluated) * (task.simulation + seen),
    }


def _learning(cfg: DictConfig) -> int:
    """Of one update: activations of the batch, and weights with their gradients and averages."""
    batch = cfg.method.get("minibatch_size") or cfg.batch_size + (cfg.demo_batch_size or 0)
    encoder = cfg.method.get("encoder_model")
    critics = 2 * (cfg.method.get("num_critics") or 0)  # with their targets
    per_sample, features = 0, 256
    if cfg.pixels and encoder and "channels" in encoder:
        stride = cfg.method.get("image_stride") or 1
        pixels = math.prod(-(-size // stride) for size in cfg.visual_observation_shape)
        planes = cfg.frame_stack * (1 + (encoder.get("num_classes") or 2))
        down = encoder.get("num_downsample_convs", 1)
        area = pixels / (encoder.get("stem_stride") or 2) ** 2 if down else pixels
        layers = encoder.get("num_post_downsample_convs", 3) + (2 if down else 0)
        last = max(1.0, area / 4 ** max(0, down - 1))
        width = encoder.channels * (encoder.get("channels_multiplier") or 1) ** (layers - 1)
        per_sample = planes * pixels + 2 * layers * width * last + encoder.channels * area
        features = width * last
    weights = 0.0
    for name, copies in (("actor_model", 2), ("critic_model", critics or 1)):
        head = cfg.method.get(name)
        if not head or "mlp_nodes" not in head:
            continue
        bottleneck = head.bottleneck_size if head.get("keys_to_bottleneck") else None
        sizes = [features, *([bottleneck] if bottleneck else []), *head.mlp_nodes]
        weights += copies * sum(math.prod(pair) for pair in itertools.pairwise(sizes))
    return int(_FLOAT * (batch * per_sample * 2 + weights * _LEARNT))


def _rollout_length(cfg: DictConfig) -> int | None:
    return OmegaConf.select(cfg, "method.rollout_length", default=None)


def _learns_on_gpu(cfg: DictConfig) -> bool:
    """Whether there seems to be a GPU with memory of its own, asked without torch."""
    return cfg.num_gpus > 0 and any(map(Path.exists, map(Path, ("/dev/nvidiactl", "/dev/dxg"))))


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f}"
