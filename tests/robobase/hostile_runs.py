"""What a stranger's, or a damaged, snapshot may hold in place of a run's state, by what it is."""

from typing import Any

import torch

NAN = float("nan")
INF = float("inf")


def put(*path: Any):
    """A change: `value` at `path` of the state."""
    *keys, value = path

    def change(state: Any) -> None:
        *parents, last = keys
        for key in parents:
            state = state[key]
        state[last] = value

    return change


def drop(*keys: Any):
    """A change: nothing at `keys` of the state."""

    def change(state: Any) -> None:
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


def fill(number: float, *keys: Any):
    """A change: every tensor below `keys` full of `number`."""

    def change(state: Any) -> None:
        for key in keys:
            state = state[key]
        for tensor in _tensors(state):
            tensor.fill_(number)

    return change


def _tensors(node: Any):
    if isinstance(node, torch.Tensor):
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _tensors(value)


STORE = ("replay", 0, "store")

FORMS = {
    "no agent": drop("agent"),
    "no training": drop("training"),
    "no progress": drop("progress"),
    "no episodes": drop("episodes"),
    "no spaces": drop("spaces"),
    "no generators": drop("rng"),
    "no time": drop("total_time"),
    "no score": drop("best_score"),
    "no config": drop("cfg"),
    "an agent that is a list": put("agent", [1, 2]),
    "an agent that is a text": put("agent", "weights"),
    "an agent of texts": put("agent", {"a": "b"}),
    "an empty agent": put("agent", {}),
    "an agent of nan": fill(NAN, "agent"),
    "an agent of infinity": fill(INF, "agent"),
    "training of nan": fill(NAN, "training"),
    "training that is none": put("training", None),
    "training without learners": put("training", {}),
    "learners that are a list": put("training", "learners", []),
    "no buffers": drop("training", "buffers"),
    "spaces that are a list": put("spaces", []),
    "spaces of numbers": put("spaces", {"action": 3}),
    "progress that is a list": put("progress", [1]),
    "progress with more": put("progress", "more", 1),
    "negative steps": put("progress", "env_steps", -5),
    "steps of a fraction": put("progress", "env_steps", 1.5),
    "steps that are a text": put("progress", "env_steps", "12"),
    "steps without end": put("progress", "env_steps", 2**100),
    "steps that are a tensor": put("progress", "env_steps", torch.tensor(3)),
    "updates that are none": put("progress", "updates", None),
    "a credit of words": put("progress", "update_credit", "much"),
    "a credit without end": put("progress", "update_credit", "1e999999999"),
    "a large credit": put("progress", "update_credit", "999999999999999999"),
    "a credit by nothing": put("progress", "update_credit", "1/0"),
    "a credit that is a number": put("progress", "update_credit", 0),
    "a score that is a text": put("best_score", "good"),
    "a score of nan": put("best_score", (NAN, 1.0)),
    "a score of lists": put("best_score", ([], [])),
    "a score that is a number": put("best_score", 1.0),
    "a negative time": put("total_time", -1.0),
    "a time of nan": put("total_time", NAN),
    "a time that is a text": put("total_time", "long"),
    "episodes that are a list": put("episodes", []),
    "running episodes of unlike length": put("episodes", "running", [[0.0], [0, 1], [False]]),
    "running episodes of texts": put("episodes", "running", [["a"] * 4, ["b"] * 4, ["c"] * 4]),
    "running episodes that are none": put("episodes", "running", None),
    "finished episodes that are a number": put("episodes", "finished", 3),
    "finished episodes of one number": put("episodes", "finished", [(1.0,)]),
    "too many finished episodes": put("episodes", "finished", [(1.0, 1, True)] * 1000),
    "a negative count of episodes": put("episodes", "count", -1),
    "generators that are a list": put("rng", []),
    "a generator of another size": put("rng", "torch", torch.zeros(3, dtype=torch.uint8)),
    "a generator of floats": put("rng", "torch", torch.zeros(5056)),
    "numpy's generator by another name": put("rng", "numpy", ["Best", [1], 0, 0, 0.0]),
    "numpy's generator beyond its keys": put("rng", "numpy", ["MT19937", [1] * 624, 10**6, 0, 0.0]),
    "numpy's generator before its keys": put("rng", "numpy", ["MT19937", [1] * 624, -5, 0, 0.0]),
    "Python's generator cut": put("rng", "python", (3, (1, 2), None)),
    "an environment that is a list": put("env", []),
    "an environment that is empty": put("env", {}),
    "an environment with more": put("env", "more", 3),
    "observations that are a list": put("observations", []),
    "observations of another": put("observations", {"rgb": torch.zeros(4, 3, 3)}),
    "observations of nan": fill(NAN, "observations"),
    "observations of texts": put("observations", {"low_dim_state": "x"}),
    "a replay that is a number": put("replay", 3),
    "a replay that is empty": put("replay", []),
    "a replay of nothing": put("replay", [{}]),
    "a replay of none": put("replay", [None]),
    "a replay's store that is a list": put("replay", 0, "store", []),
    "counters beyond the rows": put(*STORE, "counters", [10**9, 3, 0]),
    "negative counters": put(*STORE, "counters", [-1, 0, 0]),
    "counters of two": put(*STORE, "counters", [1, 1]),
    "counters of texts": put(*STORE, "counters", ["1", "1", "1"]),
    "more final rows than there are": put(*STORE, "counters", [200, 10, 10**6]),
    "links that lead away": fill(10**9, *STORE, "links"),
    "links that lead before": fill(-7, *STORE, "links"),
    "final links that lead away": fill(10**9, *STORE, "final_links"),
    "links of another shape": put(*STORE, "links", torch.zeros(2, 2, dtype=torch.int64)),
    "links of floats": put(*STORE, "links", torch.zeros(3, 5)),
    "columns that are none": put(*STORE, "columns", None),
    "rewards of nan": fill(NAN, *STORE, "columns", "reward"),
    "one row for all": put(*STORE, "columns", "reward", torch.zeros(1)),
    "a column of texts": put(*STORE, "columns", "reward", "x"),
    "free rows that are not there": put(*STORE, "free_finals", [10**9]),
    "free rows twice": put(*STORE, "free_finals", [0, 0]),
    "a last row that is not there": put(*STORE, "last_row", [10**9, 1, 1, 1]),
    "last rows of texts": put(*STORE, "last_row", ["a"] * 4),
    "a serial that is not there": put(*STORE, "last_serial", [2**60] * 4),
    "a sampler that is a text": put("replay", 0, "rng", "x"),
    "a sampler of another kind": put("replay", 0, "rng", {"bit_generator": "MT19937"}),
    "a config that is a number": put("cfg", 3),
    "a config with code": put("cfg", "a: ${oc.env:HOME}\nb: {_target_: os.system, command: x}"),
}
"""name -> change of the state that a run saved."""

OPTIMISER = {
    "moments of another shape": lambda opt: _first(opt).update(exp_avg=torch.zeros(1)),
    "moments of nan": lambda opt: _first(opt)["exp_avg"].fill_(NAN),
    "negative squares": lambda opt: _first(opt)["exp_avg_sq"].fill_(-1.0),
    "moments that are texts": lambda opt: _first(opt).update(exp_avg="x"),
    "no moments": lambda opt: _first(opt).pop("exp_avg"),
    "a negative step": lambda opt: _first(opt)["step"].fill_(-3.0),
    "parameters that are not there": lambda opt: opt["state"].update({10**6: {}}),
    "a parameter by name": lambda opt: opt["state"].update({"a": {}}),
    "no groups": lambda opt: opt.update(param_groups=[]),
    "groups that are a text": lambda opt: opt.update(param_groups="x"),
    "a group of texts": lambda opt: opt["param_groups"][0].update(params=["a"]),
    "a state that is a list": lambda opt: opt.update(state=[]),
}
"""name -> change of the first optimiser's state."""

KEPT = {
    "a rate that is a text": lambda opt: opt["param_groups"][0].update(lr="fast"),
    "a huge rate": lambda opt: opt["param_groups"][0].update(lr=1e30),
    "hooks": lambda opt: opt["param_groups"][0].update(foreach="x", more=1),
}
"""The same; these settings are the present run's own, whatever the file says."""


def _first(opt: Any) -> Any:
    return next(iter(opt["state"].values()))
