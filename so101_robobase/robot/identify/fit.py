"""Fits the model's servos to recordings of an arm: gains, damping, dry friction and latency.

Joints hardly disturb one another behind stiff servos. So every simulated candidate is six, one per
joint: each joint has a search of its own over its factors and latency, judged by its own tracking
error, and all six share their simulations. Then the latency is set to the joints' median, for one
bus serves them all, and the factors are fitted once more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.model import SO101
from so101_robobase.arm.servos import MOST_LATENCY, ServoModel
from so101_robobase.base.cma_es import CMAES
from so101_robobase.base.settings import from_mapping
from so101_robobase.robot.identify.tracking import FACTORS, Tracker, TrackingError
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.sim.scene import Scene

POPULATION = 32
GENERATIONS = (30, 15)
"""Of the search for everything, and of the second with one latency for all."""

HOME = SO101.each("clear")
"""Rad: the pose around which `excitation` moves; the gripper stays 0.13 m above the table."""

_SPREAD = 0.7  # of the first candidates, in logarithms of factors: mostly between a half and double
_LATENCY_UNIT = 0.03  # s: this much latency is as large a step as a factor of e
_FIRST_LATENCY = 0.03  # s
_LARGEST = np.log(50.0)  # factors stay between 1/50 and 50

# Costs are negative log posteriors: errors of encoder size, so many of them independent, and
# factors that are within a factor of 3 of 1 unless the recordings say otherwise.
_NOISE = 0.0015  # rad
_INDEPENDENT = 50.0
_PRIOR = np.log(3.0)

_SINES = ((0.13, 0.17, 0.23, 0.29, 0.37, 0.31), (0.53, 0.47, 0.61, 0.71, 0.83, 0.67))  # Hz
_AMPLITUDES = (0.22, 0.05)  # rad, of slow and quick sines
_JUMP = 0.08  # rad, of steps
_JUMP_EVERY = 0.8  # s
_MARGIN = 0.05  # rad that stay free before a joint's limits
_RAMP = 1.0  # s, in which the sines grow and fade


@dataclass(frozen=True)
class Identified:
    """What a fit has found.

    `before` and `after` are tracking errors on the recordings that the fit did not see.
    """

    servos: ServoModel
    before: TrackingError
    after: TrackingError


def identify(
    scene: Scene,
    recordings: Sequence[EpisodeLog],
    held_out: Sequence[EpisodeLog],
    population: int = POPULATION,
    generations: tuple[int, int] = GENERATIONS,
    seed: int = 0,
    num_threads: int = 0,
    progress: Callable[[range], Any] = iter,
) -> Identified:
    """Fit `scene`'s servos to `recordings` made in free air; judge on `held_out`.

    Args:
        scene: one without an alignment's servos: the result replaces them.
        population: candidates that are simulated at once, at least 8.
        generations: of the two searches.
        progress: wraps the generations, as `tqdm` does.

    Raises:
        UserError: there is nothing to fit to or to judge by, or the arm did not move.
    """
    if scene.config.servos is not None:
        raise UserError("the scene has an alignment's servos already; fit the robot model's own")
    if not recordings or not held_out:
        raise UserError(
            "identify needs at least two recordings: one is kept to judge by; record another"
        )
    if population < 8:
        raise UserError(f"population={population} must be 8 or more")
    moved = np.max([np.ptp(log.measured, axis=0) for log in recordings], axis=0)
    still = np.flatnonzero(moved < np.deg2rad(3))
    if len(still) == NUM_JOINTS:
        raise UserError("no joint moves by 3 degrees in these recordings; record others")

    rng = np.random.default_rng(seed)
    candidates = Tracker(scene, population, contacts=False, num_threads=num_threads)
    first, second = generations
    rounds = iter(progress(range(first + second)))

    start = np.zeros((NUM_JOINTS, len(FACTORS) + 1))
    start[:, -1] = _FIRST_LATENCY / _LATENCY_UNIT
    found = _search(candidates, recordings, start, first, _SPREAD, rng, rounds)
    moving = np.setdiff1d(np.arange(NUM_JOINTS), still)
    latency = float(np.median(_latency(found)[moving]))
    found = _search(
        candidates, recordings, found[:, :-1], second, _SPREAD / 3, rng, rounds, latency
    )
    for _ in rounds:  # so that a progress bar comes to its end
        pass
    factors = np.exp(found)
    factors[still] = 1.0
    fitted = dict(zip(FACTORS, factors.T.tolist(), strict=True))
    servos = from_mapping(ServoModel, {**fitted, "latency": latency}, "servos")
    return Identified(
        servos, tracking_error(scene, held_out), tracking_error(scene, held_out, servos)
    )


def tracking_error(
    scene: Scene, recordings: Sequence[EpisodeLog], servos: ServoModel | None = None
) -> TrackingError:
    """Of `scene` with `servos` (None: its own) on `recordings`."""
    tracker = Tracker(scene)
    if servos is not None:
        factors = np.stack([getattr(servos, name) for name in FACTORS], axis=-1)
        tracker.set_servos(factors[None], np.full((1, NUM_JOINTS), servos.latency))
    simulated = [tracker.track(log)[0] for log in recordings]
    return TrackingError.of([log.measured for log in recordings], simulated)


def _search(
    tracker: Tracker,
    recordings: Sequence[EpisodeLog],
    start: np.ndarray,
    generations: int,
    spread: float,
    rng: np.random.Generator,
    rounds: Any,
    latency: float | None = None,
) -> np.ndarray:
    """Six searches from `start` (6, d) at once: logarithms of factors, then, unless it is given,
    the latency in `_LATENCY_UNIT`. Returns their means (6, d)."""
    searches = [
        CMAES(mean, spread, tracker.num_arms, np.random.default_rng(rng.integers(2**63)))
        for mean in start
    ]
    for _ in range(generations):
        next(rounds, None)
        asked = np.stack([search.ask() for search in searches], axis=1)  # (N, 6, d)
        inside = _inside(asked)
        late = _latency(inside) if latency is None else np.full(inside.shape[:2], latency)
        tracker.set_servos(np.exp(inside[..., : len(FACTORS)]), late)
        cost = _cost(tracker, recordings)
        cost += 0.5 * ((asked[..., : len(FACTORS)] / _PRIOR) ** 2).sum(axis=-1)
        cost += 100 * ((asked - inside) ** 2).sum(axis=-1)
        for joint, search in enumerate(searches):
            search.tell(asked[:, joint], cost[:, joint])
    return _inside(np.stack([search.mean for search in searches]))


def _cost(tracker: Tracker, recordings: Sequence[EpisodeLog]) -> np.ndarray:
    """(N, 6) of the tracking errors of every candidate."""
    squared, count = np.zeros((tracker.num_arms, NUM_JOINTS)), 0
    for log in recordings:
        squared += ((tracker.track(log) - log.measured) ** 2).sum(axis=1)
        count += len(log)
    return _INDEPENDENT * squared / count / (2 * _NOISE**2)


def _inside(values: np.ndarray) -> np.ndarray:
    """`values` (..., d) within the bounds of the search."""
    factors = np.clip(values[..., : len(FACTORS)], -_LARGEST, _LARGEST)
    latency = np.clip(values[..., len(FACTORS) :], 0, MOST_LATENCY / _LATENCY_UNIT)
    return np.concatenate([factors, latency], axis=-1)


def _latency(values: np.ndarray) -> np.ndarray:
    return values[..., -1] * _LATENCY_UNIT


def excitation(
    joint_range: np.ndarray, duration: float, rate: float = 1 / CONTROL_PERIOD, seed: int = 0
) -> np.ndarray:
    """Targets (T, 6) rad at `rate` Hz that move every joint slowly, quickly and in steps.

    They begin and end at `HOME`, stay within `joint_range` (6, 2) rad and clear of the table. To
    be recorded in free air: nothing within half a metre of the arm, nothing in the gripper.

    Args:
        duration: s, at least 4.
        seed: of the steps and of where the sines begin; recordings should differ in it.
    """
    if duration < 4:
        raise UserError(f"an excitation of {duration} s is too short; give 4 or more")
    rng = np.random.default_rng(seed)
    times = np.arange(round(duration * rate)) / rate
    envelope = np.clip(np.minimum(times, duration - times) / _RAMP, 0, 1)[:, None]
    targets = np.tile(np.array(HOME), (len(times), 1))
    for frequencies, amplitude in zip(_SINES, _AMPLITUDES, strict=True):
        phase = rng.uniform(-np.pi, np.pi, NUM_JOINTS)
        targets += envelope * amplitude * np.sin(2 * np.pi * np.outer(times, frequencies) + phase)
    jumps = rng.uniform(-_JUMP, _JUMP, (int(duration / _JUMP_EVERY) + 1, NUM_JOINTS))
    targets += jumps[(times / _JUMP_EVERY).astype(int)] * (envelope == 1)
    lower, upper = np.asarray(joint_range, np.float64).T
    return np.clip(targets, lower + _MARGIN, upper - _MARGIN)
