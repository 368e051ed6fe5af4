"""How good masks are: confusion matrices and the intersection over union that follows from them."""

import numpy as np

from so101_robobase.vision.observation import CLASSES


class Confusion:
    """Counts of pixels by true class (rows) and predicted class (columns).

    Attributes:
        matrix: (C, C) int64.
    """

    def __init__(self, matrix: np.ndarray | None = None):
        shape = (len(CLASSES), len(CLASSES))
        self.matrix = np.zeros(shape, np.int64) if matrix is None else matrix.astype(np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> "Confusion":
        """Counts the pixels of two arrays of class ids of one shape; returns itself."""
        classes = len(CLASSES)
        joint = truth.astype(np.int64).ravel() * classes + predicted.ravel()
        self.matrix += np.bincount(joint, minlength=classes**2).reshape(classes, classes)
        return self

    @property
    def iou(self) -> np.ndarray:
        """(C,) float64 per class; nan for a class that neither truth nor prediction holds."""
        correct = np.diagonal(self.matrix)
        union = self.matrix.sum(0) + self.matrix.sum(1) - correct
        return np.divide(correct, union, out=np.full(len(union), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur; nan if no pixel was counted."""
        iou = self.iou
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of pixels with the right class; nan if no pixel was counted."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")
