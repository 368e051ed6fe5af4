"""Every number on the command line has a range."""

import argparse
import math
from collections.abc import Iterator

import pytest

from robobase.errors import UserError
from so101_robobase.base import cli
from so101_robobase.base.arguments import Number


def numbers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.Action]]:
    """(command and option, action) of all numeric arguments, those of subcommands included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from numbers(command, f"{name} {word}")
        elif action.type in (int, float):
            yield f"{name} {action.option_strings[0]}", action


def test_every_number_has_a_range_and_refuses_what_lies_outside():
    found = dict(numbers(cli.build_parser(), "so101_robobase"))
    assert len(found) > 25
    assert {name for name, action in found.items() if not isinstance(action, Number)} == set()
    for name, action in found.items():
        assert isinstance(action, Number)
        for value in (-1e12, 1e12, math.nan, math.inf, -math.inf, 10**400):
            with pytest.raises(UserError) as error:
                action.check(value)
            assert "\n" not in str(error.value), name
        if action.default is not None:
            action.check(action.default)
