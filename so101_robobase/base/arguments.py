"""Arguments of commands that are checked where they are read, before anything heavy is imported.

`parser.add_argument("--port", type=int, action=Number, least=1, most=65535)` and the like. What is
wrong raises `UserError`, which the command line prints as one line.
"""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any, TypeVar

from robobase.errors import UserError

SNAPSHOT = "a *_snapshot.pt that `python -m robobase.train` wrote, or its run folder"
NETWORK = "a best.pt of `so101_robobase segmentation train`"
ALIGNMENT = "an alignment; make it with `so101_robobase robot align`"
PICTURES = "a folder of labelled pictures, such as `so101_robobase segmentation dataset` writes"

Options = TypeVar("Options")

MOST_SEED = 2**31 - 1
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


class _Checked(argparse.Action):
    """Keeps one value, those of `nargs`, or with `append=True` those of all repetitions."""

    def __init__(self, *args: Any, append: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._append = append

    @property
    def name(self) -> str:
        return self.option_strings[0] if self.option_strings else self.dest

    def check(self, value: Any) -> None:
        """Raise UserError for a value that cannot be used."""
        raise NotImplementedError

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for value in values if isinstance(values, list) else [values]:
            self.check(value)
        if self._append:
            values = [*(getattr(namespace, self.dest) or []), values]
        setattr(namespace, self.dest, values)


class Input(_Checked):
    """Something to read. `what` names what to give, for the message."""

    def __init__(self, *args: Any, what: str, type: Any = Path, **kwargs: Any):
        super().__init__(*args, type=type, **kwargs)
        self._what = what

    def check(self, value: Path | str) -> None:
        try:
            Path(value).stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            if isinstance(error, FileNotFoundError | ValueError):
                raise UserError(f"{value} does not exist; give {self._what}") from error
            raise UserError(f"{value} cannot be read ({error.strerror})") from error


class Number(_Checked):
    """A number from `least` to `most`, both allowed; nan is neither."""

    def __init__(self, *args: Any, least: float, most: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._least, self._most = least, most

    def check(self, value: float) -> None:
        if not value >= self._least:
            raise UserError(f"{self.name} {value} is too small; give {self._least} or more")
        if not value <= self._most:
            raise UserError(f"{self.name} {value} is too large; give at most {self._most}")


class Seed(Number):
    """Of anything random."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, least=0, most=MOST_SEED, **kwargs)


class FrameSize(_Checked):
    """`640x480`; stays the text that it is."""

    def check(self, value: str) -> None:
        try:
            parse_frame_size(value)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error


def parse_frame_size(text: str) -> tuple[int, int]:
    """(height, width) of "640x480", which is width x height as cameras are told."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"frame size '{text}' must be width x height in pixels, as in 640x480")
    return int(match[2]), int(match[1])


class Device(_Checked):
    """The name of a device. Whether there is one, torch says later."""

    def check(self, value: str) -> None:
        if not re.fullmatch(rf"({'|'.join(_DEVICES)})(:\d+)?", value):
            raise UserError(
                f"{self.name} '{value}' is unknown; known: {', '.join(_DEVICES)}, cuda:1 ..."
            )


def add_number(
    parser: argparse._ActionsContainer,
    name: str,
    least: float,
    most: float,
    help: str = "",
    default: float | None = None,
    type: Any = int,
    **more: Any,
) -> None:
    """An option that is a number from `least` to `most`; `help` gets the default added."""
    if default is not None:
        help = f"{help} (default: %(default)s)" if help else "default: %(default)s"
    given = {"help": help, "default": default, "type": type, **more}
    parser.add_argument(name, action=Number, least=least, most=most, **given)


def add_seed(
    parser: argparse._ActionsContainer, help: str = "", default: int = 0, **more: Any
) -> None:
    """--seed."""
    add_number(parser, "--seed", 0, MOST_SEED, help, default, **more)


def add_input(
    parser: argparse._ActionsContainer, name: str, what: str, help: str | None = None, **more: Any
) -> None:
    """Something to read; `help` is `what` where that says enough."""
    parser.add_argument(name, action=Input, what=what, help=help or what, **more)


def add_frame_size(
    parser: argparse._ActionsContainer, name: str, help: str = "width x height", **more: Any
) -> None:
    """An option of a frame's size, 640x480 by default."""
    help = f"{help} (default: %(default)s)"
    parser.add_argument(name, action=FrameSize, default="640x480", help=help, **more)


def add_device(
    parser: argparse._ActionsContainer,
    default: str = "auto",
    help: str = "auto, cpu, cuda, cuda:1 ...",
) -> None:
    """--device."""
    help = f"{help} (default: %(default)s)"
    parser.add_argument("--device", action=Device, default=default, help=help)


def add_overrides(parser: argparse._ActionsContainer) -> None:
    """--overrides of a snapshot's config."""
    parser.add_argument(
        "--overrides",
        nargs="+",
        default=[],
        metavar="key=value",
        help="changes to the snapshot's config, as of `evaluate`",
    )


def add_trust(parser: argparse._ActionsContainer) -> None:
    """--trust."""
    parser.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="package",
        help="packages beside this project's whose classes the snapshot's config may name",
    )


def options(kind: type[Options], args: argparse.Namespace) -> Options:
    """The dataclass `kind` with what `args` holds under the names of its fields."""
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(args, name) for name in names})
