"""A run's config inside a file: plain data, whoever wrote it.

What is written has its interpolations resolved. What is read may refer to other keys of itself, as
snapshots of older versions do (`${env.image_size}`), and to nothing else: no resolver of OmegaConf
ever sees it.
"""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase.errors import UserError, first_line, short
from robobase.reading import plain_yaml, read_text

FORGOTTEN = ("resume_from", "replay.save_dir", "tb", "wandb", "env_settings")
"""What belongs to the run that wrote the file: where its outputs went, what checked its settings.
No other run follows it."""

MISSING = "???"  # of OmegaConf: filled in by the method
_HOLDS_MISSING = ("method", "intrinsic_reward_module")
_MOST_TEXT = 2**18  # characters of a whole config; so101_lift has 10,000
_MOST_WORD = 10_000  # characters of a value
_MOST_NODES = 50_000  # values, after references have been followed
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}", re.ASCII)


def to_text(cfg: DictConfig) -> str:
    """The YAML that goes into a file, every interpolation resolved.

    Raises:
        UserError: one of them cannot be resolved.
    """
    try:
        return OmegaConf.to_yaml(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            f"the config has a reference that leads nowhere: {first_line(error)}"
        ) from error


def parse(text: Any, where: str) -> dict[str, Any]:
    """The plain containers that `text`, of the file `where`, describes; references are followed.

    Raises:
        UserError: it is anything but a config of plain values, or refers to more than itself.
    """
    if not isinstance(text, str) or len(text) > _MOST_TEXT:
        raise UserError(f"{where} holds no config that can be read")
    try:
        tree = plain_yaml(text)
    except ValueError as error:
        raise UserError(f"the config in {where} is not plain YAML ({error})") from error
    if not isinstance(tree, dict):
        raise UserError(f"the config in {where} is no group of keys")
    try:
        return _Resolution(tree).tree()
    except ValueError as error:
        raise UserError(f"the config in {where} is not plain data: {error}") from error


def load(path: Path) -> dict[str, Any]:
    """`parse` of the config in a run folder. Raises UserError where it cannot be read either."""
    return parse(read_text(path, what="config"), str(path))


def forget_outputs(tree: dict[str, Any]) -> None:
    """Empty `FORGOTTEN` in a config, in place (`use` of a group is false), and Hydra's own keys."""
    tree.pop("hydra", None)
    for key in FORGOTTEN:
        *groups, last = key.split(".")
        node: Any = tree
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            continue
        held = node[last]
        if isinstance(held, dict):
            node[last] = dict.fromkeys(held) | ({"use": False} if "use" in held else {})
        else:
            node[last] = None


class _Resolution:
    """Follows references (`${a.b}`) inside one tree. Raises ValueError for anything else in it."""

    def __init__(self, tree: dict[Any, Any]):
        self._tree = tree
        self._known: dict[str, Any] = {}  # what a reference led to
        self._open: set[str] = set()  # references that are being followed
        self._nodes = 0

    def tree(self) -> dict[str, Any]:
        return self._resolved(self._tree, ())

    def _resolved(self, node: Any, path: tuple[str, ...]) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise ValueError(f"it has more than {_MOST_NODES:,} values")
        if isinstance(node, dict):
            for key in node:
                if type(key) not in (str, int) or "${" in str(key) or len(str(key)) > 200:
                    raise ValueError(f"{_at(path)} has the key {short(key)}")
            return {key: self._resolved(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, list):
            return [self._resolved(item, (*path, str(i))) for i, item in enumerate(node)]
        if node is not None and type(node) not in (str, int, float, bool):
            raise ValueError(f"{_at(path)} is a {type(node).__name__}")
        if not isinstance(node, str):
            return node
        if node == MISSING and path[:1] not in [(name,) for name in _HOLDS_MISSING]:
            raise ValueError(f"{_at(path)} has no value")
        value = self._followed(node, path)
        if isinstance(value, list):
            self._nodes += len(value)
        return value

    def _followed(self, word: str, path: tuple[str, ...]) -> Any:
        """`word` with its references replaced; a value of its own kind where it is nothing else."""
        while "${" in word:
            if len(word) > _MOST_WORD:
                break
            if whole := _REFERENCE.fullmatch(word):
                return self._value(whole[1], path)
            inner = _REFERENCE.search(word)
            if inner is None:
                raise ValueError(
                    f"{_at(path)} is {short(word)}; it may refer to its own keys alone"
                )
            value = self._value(inner[1], path)
            if isinstance(value, list):
                raise ValueError(f"{_at(path)} puts a list into a word")
            word = f"{word[: inner.start()]}{value}{word[inner.end() :]}"
        if len(word) > _MOST_WORD:
            raise ValueError(f"{_at(path)} has more than {_MOST_WORD:,} characters")
        return word

    def _value(self, name: str, path: tuple[str, ...]) -> Any:
        """What the key `name` holds: a number, a word, nothing, or a list of such."""
        if name in self._known:
            return self._known[name]
        if name in self._open or len(self._open) > 50:
            raise ValueError(f"{_at(path)} refers to itself through {short(name)}")
        node: Any = self._tree
        for key in name.split("."):
            if not isinstance(node, dict) or key not in node:
                raise ValueError(f"{_at(path)} refers to {short(name)}, which is not there")
            node = node[key]
        self._open.add(name)
        items = node if isinstance(node, list) else [node]
        values = [self._followed(item, path) if isinstance(item, str) else item for item in items]
        self._open.discard(name)
        if any(isinstance(value, dict | list) or value == MISSING for value in values):
            raise ValueError(f"{_at(path)} refers to {short(name)}, which is no value")
        self._known[name] = values if isinstance(node, list) else values[0]
        return self._known[name]


def _at(path: tuple[str, ...]) -> str:
    return short(".".join(path)) if path else "its top"
