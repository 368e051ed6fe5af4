"""RoboBase's logger with Stable-Baselines3's tables and names, and a picture of the curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from robobase.logger import Logger
from so101_robobase.training.curves import CURVES_FILE, plot_learning_curves
from so101_robobase.training.table import format_table, sb3_names


class SB3Logger(Logger):
    """Prints tables with the groups rollout, time, train and eval.

    What the environments report beside (`env/...`) is in the files and in TensorBoard alone: it
    would make up half of each table. TensorBoard and Weights & Biases show the same names
    (`rollout/ep_rew_mean`); the CSV files keep RoboBase's. `<log_dir>/learning_curves.png` is drawn
    anew after every evaluation and at the end, from the CSV files, so it needs `save_csv=true`.
    """

    def __init__(self, log_dir: Path, cfg: DictConfig):
        super().__init__(log_dir, cfg)
        self._curves_are_stale = False

    def log_metrics(self, metrics: Mapping[str, Any], step: int, prefix: str) -> None:
        super().log_metrics(metrics, step, prefix)
        self._curves_are_stale = True
        if prefix == "eval":
            self._draw_curves()

    def display_names(self, means: dict[str, float], prefix: str) -> dict[str, float]:
        return sb3_names(means, prefix)

    def print_metrics(self, means: dict[str, float], prefix: str) -> None:
        named = sb3_names(means, prefix)
        for name in [name for name in named if name.startswith("env/")]:
            del named[name]
        for name in [name for name in named if name.endswith("/unstable_episodes")]:
            if not named[name]:  # as it should be
                del named[name]
        tqdm.write(format_table(named))

    def close(self) -> None:
        super().close()
        if self._curves_are_stale:
            self._draw_curves()

    def _draw_curves(self) -> None:
        plot_learning_curves(self.log_dir, self.log_dir / CURVES_FILE)
        self._curves_are_stale = False
