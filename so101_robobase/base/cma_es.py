"""A search without gradients: covariance matrix adaptation (CMA-ES)."""

import numpy as np


class CMAES:
    """Minimises a function of few numbers by asking for candidates and being told their costs.

    After N. Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772, with its default
    weights and rates (positive weights alone).

    Args:
        mean: (d,) where to begin.
        sigma: standard deviation of the first candidates in every direction.
        population: candidates per generation, at least 4.
    """

    def __init__(self, mean: np.ndarray, sigma: float, population: int, rng: np.random.Generator):
        self.mean = np.array(mean, np.float64)
        self.sigma = sigma
        self._rng, self._population = rng, population
        d = len(self.mean)
        parents = population // 2
        weights = np.log((population + 1) / 2) - np.log(np.arange(1, parents + 1))
        self._weights = weights / weights.sum()
        mass = 1 / (self._weights**2).sum()  # variance-effective number of parents
        self._path_rate = (mass + 2) / (d + mass + 5)
        self._damping = 1 + 2 * max(0.0, np.sqrt((mass - 1) / (d + 1)) - 1) + self._path_rate
        self._shape_rate = (4 + mass / d) / (d + 4 + 2 * mass / d)
        self._rank_one = 2 / ((d + 1.3) ** 2 + mass)
        self._rank_many = min(1 - self._rank_one, 2 * (mass - 2 + 1 / mass) / ((d + 2) ** 2 + mass))
        self._mass = mass
        self._usual = np.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))  # length of a normal vector
        self._covariance = np.eye(d)
        self._path, self._shape_path = np.zeros(d), np.zeros(d)
        self._generation = 0

    def ask(self) -> np.ndarray:
        """Candidates (population, d)."""
        self._axes, self._lengths = self._principal()
        normal = self._rng.standard_normal((self._population, len(self.mean)))
        return self.mean + self.sigma * (normal * self._lengths) @ self._axes.T

    def tell(self, candidates: np.ndarray, cost: np.ndarray) -> None:
        """The costs (population,) of what `ask` gave; nan counts as worst."""
        self._generation += 1
        order = np.argsort(np.where(np.isnan(cost), np.inf, cost), kind="stable")
        best = candidates[order[: len(self._weights)]]
        steps = (best - self.mean) / self.sigma
        step = self._weights @ steps
        self.mean = self.mean + self.sigma * step

        rate = self._path_rate
        whitened = self._axes @ ((self._axes.T @ step) / self._lengths)
        self._path = (1 - rate) * self._path + np.sqrt(rate * (2 - rate) * self._mass) * whitened
        length = np.linalg.norm(self._path)
        d = len(self.mean)
        expected = np.sqrt(1 - (1 - rate) ** (2 * self._generation)) * self._usual
        straight = float(length < (1.4 + 2 / (d + 1)) * expected)

        rate = self._shape_rate
        self._shape_path = (1 - rate) * self._shape_path
        self._shape_path += straight * np.sqrt(rate * (2 - rate) * self._mass) * step
        lost = (1 - straight) * rate * (2 - rate)
        self._covariance = (
            (1 - self._rank_one - self._rank_many + self._rank_one * lost) * self._covariance
            + self._rank_one * np.outer(self._shape_path, self._shape_path)
            + self._rank_many * (steps.T * self._weights) @ steps
        )
        self.sigma *= float(
            np.exp(min(1.0, self._path_rate / self._damping * (length / self._usual - 1)))
        )

    def _principal(self) -> tuple[np.ndarray, np.ndarray]:
        """Principal axes (d, d), in columns, and lengths (d,) of the distribution."""
        self._covariance = (self._covariance + self._covariance.T) / 2
        values, axes = np.linalg.eigh(self._covariance)
        return axes, np.sqrt(np.maximum(values, 1e-20))
