"""What a person typed on the command line: which settings, and which they may have meant."""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from robobase.settings import tree

_NOT_FOUND = re.compile(r"Could not override '([^']+)'")
_GROUP = re.compile(r"To append to your default list use (\+\S+)")


def given() -> dict[str, Any]:
    """The settings of this job's command line by key, those of a sweep included.

    Chosen groups (`env=...`) are no settings. Empty outside of a run of Hydra's.
    """
    if not HydraConfig.initialized():
        return {}
    job = HydraConfig.get()
    found: dict[str, Any] = {}
    for override in _parsed(list(job.overrides.task)):
        key = override.key_or_group
        if override.is_delete() or key in job.runtime.choices or override.package or "/" in key:
            continue
        found |= dict(tree.leaves(_plain(override.value()), key=key))
    return found


def _parsed(words: Iterable[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def _plain(value: Any) -> Any:
    """A value of Hydra's grammar as plain Python; its quoted strings are a class of their own."""
    if isinstance(value, Mapping):
        return {str(getattr(k, "text", k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return getattr(value, "text", value)


def explained(error: BaseException) -> str:
    """One line about what Hydra could not compose, with the setting that may have been meant."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        known = ", ".join(error.options)
        hint = _meant(name, error.options, f"{group}=")
        return f"{group}={name} is unknown; known: {known}{hint}"
    message = str(error)
    match = _NOT_FOUND.search(message)
    if match is not None:
        key = match[1].partition("=")[0]
        to_add = _GROUP.search(message)
        hint = f"; did you mean {to_add[1]}?" if to_add else _meant(key, _known_keys())
        return f"{key} is no setting of this run{hint or '; see --cfg job for all of them'}"
    lines = [message, *([str(error.__cause__)] if error.__cause__ is not None else [])]
    lines = [line for text in lines for line in text.splitlines()]
    kept = [line.strip() for line in lines if "HYDRA_FULL_ERROR" not in line]
    return " ".join(kept)


def _meant(word: str, known: Iterable[str], prefix: str = "") -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    if not close:  # the last part alone may be right: cube_jitter for env.cube_jitter
        last = {name.rpartition(".")[2]: name for name in reversed(names)}
        close = [last[n] for n in difflib.get_close_matches(word.rpartition(".")[2], last, n=1)]
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _known_keys() -> list[str]:
    """Keys and groups of the config that the command line's groups compose."""
    from hydra import compose, initialize_config_module

    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    groups = [
        w
        for w in words
        if re.fullmatch(r"\+?(env|method|launch|intrinsic_reward_module|sweep|physics)=.*", w)
    ]
    folders = [
        value
        for flag, value in zip(sys.argv[1:], sys.argv[2:], strict=False)
        if flag in ("--config-dir", "-cd")
    ]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("robobase.cfgs", version_base=None):
            search = [f"hydra.searchpath=[{','.join('file://' + f for f in folders)}]"]
            cfg = compose("robobase_config", overrides=[*search, *groups])
    except Exception:  # whatever else is wrong, the first mistake has been found
        return []
    return _names(cfg)


def _names(cfg: DictConfig) -> list[str]:
    keys = [key for key, _ in tree.leaves(OmegaConf.to_container(cfg, resolve=False))]
    groups = {group for key in keys for group in tree.groups_above(key)}
    return [*keys, *sorted(groups), "env", "method", "launch", "intrinsic_reward_module"]
