"""Steps of an imagined policy for tests of those who record or show them."""

import numpy as np

from so101_robobase.robot.recording.records import PolicyTick

FRAME_SIZE = (48, 64)  # (height, width)


def make_ticks(
    count: int, seed: int = 0, channels: int = 2, camera: bool = False, value: bool = True
) -> list[PolicyTick]:
    """`count` steps, 40 ms apart, whose every number is random; frames are soft, as real ones."""
    rng = np.random.default_rng(seed)
    return [_tick(rng, index, channels, camera, value) for index in range(count)]


def _tick(
    rng: np.random.Generator, index: int, channels: int, camera: bool, value: bool
) -> PolicyTick:
    picture = rng.integers(0, 256, (channels, 84, 84), np.uint8)
    if channels < 3:
        picture[0] %= 6
    height, width = FRAME_SIZE
    ramp = np.linspace(0, 200, width)[None, :, None] + np.array([0, 25, 50])  # B < G < R
    return PolicyTick(
        time=index / 25,
        picture=picture,
        frame=np.tile(ramp, (height, 1, 1)).astype(np.uint8) if camera else None,
        frame_age=rng.uniform(0, 0.1),
        measured=rng.uniform(-90, 90, 6),
        sent=rng.uniform(-90, 90, 6),
        joint_pos=rng.uniform(-2, 2, 6),
        joint_target=rng.uniform(-2, 2, 6),
        action=rng.uniform(-1, 1, 6),
        latency=rng.uniform(0, 0.02),
        value=rng.uniform(0, 50) if value else None,
    )
