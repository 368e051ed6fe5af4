"""How near what networks see comes to what the simulator knows, in pictures and in actions."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from so101_robobase.evaluation.policy import Policy
from so101_robobase.perception.dataset import DatasetSettings, Painter
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.scenes import Pool
from so101_robobase.perception.segmentation.metrics import Confusion
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import build_scene
from so101_robobase.vision.observation import IMAGE_SIZE, disparity_from_depth, seg_depth

_AT_ONCE = 16  # pictures


@dataclass(frozen=True)
class Comparison:
    """The same scenes as the simulator knows them and as networks see them.

    Attributes:
        true, seen: (N, 2, 84, 84) uint8, what a seg_depth policy is shown.
        frames: (K, H, W, 3) uint8 RGB, what the networks looked at in the first K scenes.
    """

    true: np.ndarray
    seen: np.ndarray
    frames: np.ndarray

    @property
    def confusion(self) -> Confusion:
        """Of the class ids, at the size of the policy's picture."""
        return Confusion().add(self.true[:, 0], self.seen[:, 0])

    def disparity(self) -> dict[str, float]:
        """Means over the pictures: Pearson and Spearman correlation, absolute error in levels."""
        true, seen = (
            pictures[:, 1].reshape(len(pictures), -1).astype(np.float64)
            for pictures in (self.true, self.seen)
        )
        return {
            "correlation": float(_correlation(true, seen).mean()),
            "rank_correlation": float(_correlation(_ranks(true), _ranks(seen)).mean()),
            "mean_absolute_error": float(np.abs(true - seen).mean()),
        }


def compare(
    settings: DatasetSettings, pool: Pool, eyes: Eyes, num_images: int, num_frames: int = 6
) -> Comparison:
    """Scenes and looks 0 to `num_images` - 1 of a dataset of `settings`, seen both ways."""
    painter = Painter(settings, pool)
    scene = build_scene(settings.scene)
    camera = make_renderer("gl", scene, settings.height, settings.width)
    # The simulator's way: the policy's picture is rendered as large as it is seen.
    simulator = make_renderer("auto", scene, IMAGE_SIZE, IMAGE_SIZE)
    true, seen = [], []
    frames: list[np.ndarray] = []
    with tqdm(total=num_images, desc="comparing", unit="picture", leave=False) as bar:
        for start in range(0, num_images, _AT_ONCE):
            drawn = painter.draw(range(start, min(start + _AT_ONCE, num_images)))
            ids, depth = simulator.render(*drawn)
            disparity = disparity_from_depth(depth)
            true.append(seg_depth(ids, disparity))
            rgb = camera.render_rgb(*drawn)
            seen.append(seg_depth(*eyes.see(rgb[..., ::-1], ids, disparity)))
            frames.extend(rgb[: max(num_frames - len(frames), 0)])
            bar.update(len(rgb))
    for open_one in (painter, camera, simulator):
        open_one.close()
    return Comparison(np.concatenate(true), np.concatenate(seen), np.stack(frames))


@dataclass(frozen=True)
class Acting:
    """T policy steps of N episodes as a policy sees them and as the simulator knows them.

    Attributes:
        comparison: the pictures, step by step and in each step episode by episode; `frames` are
            those of the first episode, dark where none were asked for or there is no OpenGL.
        actions: (T, N, S, A) for what the policy sees; these were taken.
        true_actions: (T, N, S, A) for the truth.
    """

    comparison: Comparison
    actions: np.ndarray
    true_actions: np.ndarray

    def moments(self, count: int) -> Comparison:
        """`count` of the first episode's pictures, evenly from its beginning to its end."""
        steps, episodes = self.actions.shape[:2]
        chosen = np.linspace(0, steps - 1, count).astype(int)
        pictures = self.comparison
        rows = chosen * episodes
        return Comparison(pictures.true[rows], pictures.seen[rows], pictures.frames[chosen])


def act_both_ways(
    policy: Policy, num_steps: int, num_envs: int, seed: int, colors: bool = False
) -> Acting:
    """Let `policy` act on what its config has it see (`env.sight`, `env.corruption`).

    Args:
        num_steps: policy steps of `num_envs` episodes at a time.
        colors: keep what the first episode's camera shows.
    """
    env = policy.make_env(num_envs)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    size = task.config.image_size
    simulator = make_renderer(task.config.renderer, task.sim.scene, size, size)
    camera = _Camera(task, colors)
    everyone = np.arange(num_envs)

    def truth() -> np.ndarray:
        ids, depth = simulator.render(*task.sim.view(everyone))
        return seg_depth(ids, disparity_from_depth(depth), size)[:, None]

    observation, _ = env.reset(seed=seed)
    stack = observation["rgb"].shape[1]
    true = np.repeat(truth(), stack, axis=1)
    pictures: list[tuple[np.ndarray, np.ndarray]] = []
    frames, actions, true_actions = [], [], []
    for _ in tqdm(range(num_steps), desc="acting", unit="step", leave=False):
        pictures.append((true[:, -1], observation["rgb"][:, -1]))
        frames.append(camera.frame())
        actions.append(policy.act(observation))
        true_actions.append(policy.act({**observation, "rgb": true}))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        newest, begun = truth(), terminated | truncated
        true = np.concatenate([true[:, 1:], newest], axis=1)
        true[begun] = newest[begun]
    env.close()
    for open_one in (simulator, camera):
        open_one.close()
    known, seen = (np.concatenate(column) for column in zip(*pictures, strict=True))
    return Acting(
        Comparison(known, seen, np.stack(frames)), np.stack(actions), np.stack(true_actions)
    )


def action_difference(policy: Policy, num_steps: int, num_envs: int, seed: int) -> np.ndarray:
    """Mean absolute difference (A,) of the actions for what networks see and for the truth."""
    acting = act_both_ways(policy, num_steps, num_envs, seed)
    difference = np.abs(acting.actions - acting.true_actions)
    return difference.reshape(-1, *difference.shape[2:]).mean(axis=(0, 1))


class _Camera:
    """What the first member's wrist camera shows in colours; dark if not `on` or without OpenGL."""

    def __init__(self, task: Any, on: bool):
        self._sim = task.sim
        width, height = task.config.sight.camera
        self._shape = (height, width, 3)
        self._renderer = None
        with suppress(GLUnavailableError):
            self._renderer = make_renderer("gl", task.sim.scene, height, width) if on else None

    def frame(self) -> np.ndarray:
        if self._renderer is None:
            return np.zeros(self._shape, np.uint8)
        return self._renderer.render_rgb(*self._sim.view(np.array([0])))[0]

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's, row by row of two (N, K), (N,); 0 where a row does not vary."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    product = (a * b).sum(axis=1)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def _ranks(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Ranks within each row of bytes (N, K); equal values share the mean of theirs."""
    ranks = []
    for row in np.asarray(values).astype(np.int64):
        counts = np.bincount(row, minlength=256)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[row])
    return np.stack(ranks)
