"""How near what networks see comes to what the simulator knows, in pictures and in actions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from so101_robobase.evaluation.policy import Policy
from so101_robobase.perception.dataset import DatasetSettings, Painter
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.scenes import Pool
from so101_robobase.perception.segmentation.metrics import Confusion
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


def action_difference(policy: Policy, num_steps: int, num_envs: int, seed: int) -> np.ndarray:
    """Mean absolute difference (A,) of the actions for what networks see and for the truth.

    Args:
        policy: its config says what the networks are (`env.sight`); it acts on what they see.
        num_steps: policy steps of `num_envs` episodes at a time.
    """
    env = policy.make_env(num_envs)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    size = task.config.image_size
    simulator = make_renderer(task.config.renderer, task.sim.scene, size, size)
    everyone = np.arange(num_envs)

    def truth() -> np.ndarray:
        ids, depth = simulator.render(*task.sim.view(everyone))
        return seg_depth(ids, disparity_from_depth(depth), size)[:, None]

    observation, _ = env.reset(seed=seed)
    frames = observation["rgb"].shape[1]
    true = np.repeat(truth(), frames, axis=1)
    differences = []
    for _ in tqdm(range(num_steps), desc="acting", unit="step", leave=False):
        actions = policy.act(observation)
        differences.append(np.abs(actions - policy.act({**observation, "rgb": true})))
        observation, _, terminated, truncated, _ = env.step(actions)
        newest, begun = truth(), terminated | truncated
        true = np.concatenate([true[:, 1:], newest], axis=1)
        true[begun] = newest[begun]
    env.close()
    simulator.close()
    return np.concatenate(differences).mean(axis=(0, 1))


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
