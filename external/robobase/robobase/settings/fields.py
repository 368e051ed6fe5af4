"""Dataclasses whose annotations say what each field may be.

`size: Annotated[float, Number(0, 1), on(".enabled")] = 0.5` has a kind and a need. `bool` and
nested dataclasses need no more words than that.
"""

import dataclasses
import types
import typing
from functools import cache
from typing import Annotated, Any

from robobase.settings.kinds import Flag, Kind, OrNull, checked
from robobase.settings.setting import Need, Setting


def kinds(cls: type) -> dict[str, Kind]:
    """The kind of each field of a dataclass that declares one; nested dataclasses have none."""
    return _kinds(cls)


@cache
def _kinds(cls: Any) -> dict[str, Kind]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {item.name: _kind(hints[item.name]) for item in dataclasses.fields(cls)}
    return {name: kind for name, kind in found.items() if kind is not None}


def check_fields(instance: Any, where: str) -> None:
    """Put the meant values into the fields of a dataclass, frozen or not.

    Raises UserError that names `where.field` for a value that is not allowed.
    """
    for name, kind in kinds(type(instance)).items():
        meant = checked(kind, f"{where}.{name}" if where else name, getattr(instance, name))
        object.__setattr__(instance, name, meant)


def declared_fields(cls: type, group: str) -> dict[str, Setting]:
    """The settings of a dataclass and of those nested in it, by full key.

    `NEEDS`, where a dataclass has it, holds for all its fields but those that are needed.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    shared = [need.within(group) for need in getattr(cls, "NEEDS", ())]
    found: dict[str, Setting] = {}
    for item in dataclasses.fields(cls):
        key, hint = f"{group}.{item.name}", hints[item.name]
        kind = _kind(hint)
        if kind is None:
            nested = _without_extras(hint)
            if not dataclasses.is_dataclass(nested):
                raise TypeError(f"{cls.__name__}.{item.name} declares no kind")
            inner = declared_fields(typing.cast(type, nested), key)
        else:
            inner = {key: Setting(kind, *(need.within(group) for need in _needs(hint)))}
        needs = [need for need in shared if key not in need.keys]
        found |= {name: setting.and_needs(*needs) for name, setting in inner.items()}
    return found


def _needs(hint: Any) -> list[Need]:
    extras = getattr(hint, "__metadata__", ())
    return [extra for extra in extras if isinstance(extra, Need)]


def _without_extras(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _kind(hint: Any) -> Kind | None:
    """The kind that an annotation declares."""
    plain = _without_extras(hint)
    if plain is not hint:
        extras = [extra for extra in hint.__metadata__ if not isinstance(extra, Need)]
        return extras[0] if extras else _kind(plain)
    if plain is bool:
        return Flag()
    if typing.get_origin(plain) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(plain) if part is not type(None)]
        kind = _kind(inner[0]) if len(inner) == 1 else None
        return OrNull(kind) if kind is not None else None
    return None
