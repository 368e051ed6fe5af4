"""Dataclasses from plain containers, with errors that name the full key."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from robobase.errors import UserError
from robobase.settings import fields
from robobase.settings.kinds import Number, checked, close_to


def from_mapping(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """Build dataclass `cls` from plain containers, nested dataclasses and tuples included.

    Raises UserError naming `where.key` for unknown and missing keys and values of the wrong kind;
    where `where` is empty, the key alone.
    """
    hints = typing.get_type_hints(cls)
    known = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            hint = close_to(key, list(known)) or f"; known: {', '.join(known)}"
            raise UserError(f"{prefix}{key} is unknown{hint}")
    for key in _required(cls):
        if key not in values:
            raise UserError(f"{prefix}{key} is missing")
    kinds = fields.kinds(cls)
    given: dict[str, Any] = {}
    for key, value in values.items():
        full = f"{prefix}{key}"
        if key in kinds:
            given[key] = checked(kinds[key], full, value)
        else:
            given[key] = _convert(known[key], value, full)
    return cls(**given)


def plain(value: Any) -> Any:
    """Dictionaries, lists and numbers of dataclasses and tuples, for YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def _required(cls: type) -> list[str]:
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is missing and field.default_factory is missing
    ]


def _convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; whole numbers pass as floats, lists as tuples."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}={value!r} must be a group of keys")
        return from_mapping(typing.cast(type, kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin in (tuple, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{where}={value!r} must be a list")
        items = tuple(value)
        if origin is Sequence or arguments[-1] is ...:
            arguments = arguments[:1] * len(items)
        if len(items) != len(arguments):
            raise UserError(f"{where}={value!r} must have {len(arguments)} entries")
        return tuple(_convert(arguments[i], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is not None:  # Mapping[...]
        if not isinstance(value, Mapping):
            raise UserError(f"{where}={value!r} must be a group of keys")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return checked(Number(), where, value)
    if kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise UserError(f"{where}={value!r} must be of type {kind.__name__}")


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    return _convert(kinds[0], value, where) if len(kinds) == 1 else value
