"""The original's design as `original_design.py` measures it: a throw-away, only good for that.

Processes of `_original_env.py` play, episodes become npz files, workers of a DataLoader read them.
"""

import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from update_throughput import build_agent

from robobase import compute, evaluation
from robobase.errors import UserError

SEED, EPISODE_LENGTH = 1, 200
NUM_ENVS, BATCH, WORKERS, FETCH_EVERY = 8, 256, 4, 100  # as its configuration has them
UPDATES = NUM_ENVS // 2  # for one policy step of all environments
STACK, NSTEP, GAMMA = 3, 3, 0.99
FIRST_EPISODES = 12  # 2,400 transitions: it learns from 2,000 on
EXPLORED = 32_000  # env steps after which it acts with its policy
IMAGES, STATES = "rgb", "low_dim_state"
Observation = dict[str, np.ndarray]
Batch = dict[str, torch.Tensor]


class OriginalTraining:
    """Its training loop; `batches` can be wrapped, and `num_envs` policy steps are one `collect`.

    Raises:
        UserError: an environment does not start.
    """

    num_envs = NUM_ENVS

    def __init__(self, folder: Path, num_gpus: int):
        self._folder, self._device = folder, compute.pick_device(num_gpus)
        torch.set_num_threads(compute.available_cores())
        self._agent = build_agent(["launch=reference"], str(self._device))
        self._file_names = (folder / f"{i}.npz" for i in itertools.count())
        self._processes: list[subprocess.Popen] = []
        self._connections: list[Any] = []
        self._loader: Any = None
        try:
            for i in range(NUM_ENVS):
                self._start_process(i)
            self._now: list[Observation] = [each.recv() for each in self._connections]
            self._episodes: list[list[tuple]] = [[] for _ in range(NUM_ENVS)]
            step = (_newest(self._now[0]), np.zeros(6, np.float32), 0.0, False, False)
            for _ in range(FIRST_EPISODES):
                self._save([step] * EPISODE_LENGTH, step[0], np.savez)
            self._loader = self._load()
        except BaseException as error:
            self.close()
            if isinstance(error, EOFError | ConnectionResetError):
                raise UserError("an environment of the original's design did not start") from None
            raise
        self.batches: Iterator[Batch] = self._on_device()

    def collect(self) -> None:
        """One policy step of every environment."""
        stacked = {key: np.stack([each[key] for each in self._now]) for key in self._now[0]}
        self._agent.train(False)
        actions = evaluation.act(self._agent, stacked, EXPLORED, eval_mode=False)[:, 0]
        for connection, action in zip(self._connections, actions, strict=True):
            connection.send(action)
        for i, connection in enumerate(self._connections):
            following, *outcome, final = connection.recv()
            self._episodes[i].append((_newest(self._now[i]), actions[i], *outcome))
            if final is not None:
                self._save(self._episodes[i], _newest(final), np.savez_compressed)
                self._episodes[i] = []
            self._now[i] = following

    def learn(self) -> None:
        """The updates that this pays for."""
        self._agent.train(True)
        for _ in range(UPDATES):
            self._agent.update(self.batches, EXPLORED)

    def close(self) -> None:
        self._loader = None  # ends its workers, in which the connections are open too
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start_process(self, i: int) -> None:
        ours, theirs = Pipe()
        program = Path(__file__).with_name("_original_env.py")
        steps_taken = i * EPISODE_LENGTH // NUM_ENVS  # episodes end one after the other
        backend = {"MUJOCO_GL": "egl"} if sys.platform == "linux" else {}
        process = subprocess.Popen(
            [sys.executable, program, str(theirs.fileno()), str(SEED + i), str(steps_taken)],
            pass_fds=[theirs.fileno()],
            env={**backend, **os.environ},
        )
        theirs.close()
        self._processes.append(process)
        self._connections.append(ours)

    def _save(self, steps: list[tuple], final: Observation, save: Any) -> None:
        """Write an episode: L steps (observation, action, reward, terminated, truncated)."""
        observations, actions, rewards, terminal, truncated = zip(*steps, strict=True)
        episode = {
            **{key: np.stack([each[key] for each in (*observations, final)]) for key in final},
            "action": np.stack(actions),
            "reward": np.array(rewards, np.float32),
            "terminal": np.array(terminal, np.int8),
            "truncated": np.array(truncated, np.int8),
        }
        unfinished = self._folder / "unfinished"
        with unfinished.open("wb") as file:
            save(file, **episode)
        unfinished.rename(next(self._file_names))

    def _load(self) -> Any:
        warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")
        files, pin = EpisodeFiles(self._folder), self._device.type == "cuda"
        return iter(DataLoader(files, BATCH, num_workers=WORKERS, pin_memory=pin))

    def _on_device(self) -> Iterator[Batch]:
        while True:
            batch = next(self._loader)
            yield {key: value.to(self._device) for key, value in batch.items()}


class EpisodeFiles(IterableDataset):
    """Endless single samples; worker w reads, keeps and deletes every WORKERS-th episode."""

    def __init__(self, folder: Path):
        self._folder = folder

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        assert worker is not None
        rng = np.random.default_rng(worker.seed)
        episodes: list[dict[str, np.ndarray]] = []
        for drawn in itertools.count():
            if drawn % FETCH_EVERY == 0:
                episodes += self._fetch(worker.id)
            yield _sample(episodes[rng.integers(len(episodes))], rng)

    def _fetch(self, worker: int) -> Iterator[dict[str, np.ndarray]]:
        for path in self._folder.glob("*.npz"):
            if int(path.stem) % WORKERS == worker:
                with np.load(path) as arrays:
                    yield dict(arrays)
                path.unlink()


def _sample(episode: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    length = len(episode["reward"])
    start = int(rng.integers(max(1, length - NSTEP + 1)))
    end = min(start + NSTEP, length)
    rewards = episode["reward"][start:end]
    return {
        **{key: _frames(episode[key], start) for key in (IMAGES, STATES)},
        **{f"{key}_tp1": _frames(episode[key], end) for key in (IMAGES, STATES)},
        "action": episode["action"][start : start + 1],
        "reward": np.float32(rewards @ GAMMA ** np.arange(len(rewards))),
        "terminal": episode["terminal"][end - 1],
        "truncated": episode["truncated"][end - 1],
        "discount": np.float32(GAMMA ** len(rewards)),
        "indices": start,
    }


def _frames(rows: np.ndarray, last: int) -> np.ndarray:
    """The STACK frames up to row `last`; the first one is repeated where there are fewer."""
    if last >= STACK - 1:
        return rows[last - STACK + 1 : last + 1]
    return rows[np.maximum(np.arange(last - STACK + 1, last + 1), 0)]


def _newest(observation: Observation) -> Observation:
    return {key: frames[-1] for key, frames in observation.items()}
