"""The `so101_robobase` command line: finds the command, runs it, turns errors into one line.

Each command lives in a module of its own with an `EXAMPLE` for `--help` and two functions,
`configure(parser)` and `run(args) -> exit code`, or with `SUBCOMMANDS` such as `COMMANDS` and
perhaps a `DEFAULT` among them. Only the module of the command that was typed is imported, and such
a module imports torch, MuJoCo and the like inside `run`, so that `--help` answers at once.
"""

import argparse
import contextlib
import errno
import importlib
import sys
from collections.abc import Mapping, Sequence

from robobase import console, signals
from robobase.errors import UserError, one_line
from so101_robobase import __version__

COMMANDS = {  # name: (module, summary)
    "evaluate": (
        "so101_robobase.evaluation.evaluate_command",
        "measure a snapshot's success over many episodes and record videos",
    ),
    "runs": (
        "so101_robobase.experiments.runs_command",
        "which runs there are, how they differ, and what of them can go",
    ),
    "report": (
        "so101_robobase.experiments.report_command",
        "many runs on one page: tables, curves, statistics, videos",
    ),
    "doctor": (
        "so101_robobase.tools.doctor_command",
        "look at this machine: what it has, what is amiss and what mends it",
    ),
    "segmentation": (
        "so101_robobase.perception.segmentation_command",
        "make labelled pictures, train a segmentation model on them, and use it",
    ),
    "perception": (
        "so101_robobase.perception.perception_command",
        "check the networks that stand between the camera and the policy",
    ),
    "robot": (
        "so101_robobase.robot.robot_command",
        "run a snapshot on the arm, check and align it; simulated and emulated arms too",
    ),
}
USER_ERROR = 2  # exit code, as argparse's own
INTERRUPTED = 130  # exit code, 128 + SIGINT as shells report it
_EXAMPLE = "example: "
_CANNOT_WRITE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (0 done, 2 bad input, 128 and a signal's number).

    141 where nobody reads its output any more, as in `... | head`.
    """
    console.print_lines_at_once()
    return console.run_until_left(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    try:
        argv = _with_default(argv)
        args = build_parser(argv).parse_args(argv)
        # A robot's commands know better what a signal means to an arm that is held up.
        with contextlib.nullcontext() if args.command == "robot" else signals.interrupts():
            return args.run(args)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        return _fail(f"cannot write {error.filename or 'the output'}: {error.strerror}")
    except KeyboardInterrupt as error:
        print("so101_robobase: interrupted", file=sys.stderr)
        return signals.exit_code(error)


def _with_default(argv: list[str]) -> list[str]:
    """`argv` with the subcommand that is meant where none is typed: `runs` is `runs list`."""
    if not argv or argv[0] not in COMMANDS:
        return argv
    module = importlib.import_module(COMMANDS[argv[0]][0])
    default = getattr(module, "DEFAULT", None)
    if default is None or (argv[1:] and argv[1] in ("-h", "--help", *module.SUBCOMMANDS)):
        return argv
    return [argv[0], default, *argv[1:]]


def _fail(message: str) -> int:
    print(f"so101_robobase: error: {one_line(message)}", file=sys.stderr)
    return USER_ERROR


def build_parser(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole line; only the command that `argv` types has its arguments.

    None: every command has them.
    """
    parser = argparse.ArgumentParser(
        prog="so101_robobase",
        description="Evaluate and compare what `python -m robobase.train env=so101_lift` trained.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_commands(parser, "command", COMMANDS, argv)
    return parser


def _add_commands(
    parser: argparse.ArgumentParser,
    dest: str,
    commands: Mapping[str, tuple[str, str]],
    argv: Sequence[str] | None,
) -> None:
    subparsers = parser.add_subparsers(dest=dest, metavar="command", required=True)
    typed = next((word for word in argv or () if not word.startswith("-")), None)
    for name, (module_name, summary) in commands.items():
        command = subparsers.add_parser(
            name, help=summary, description=_sentence(summary), formatter_class=_Formatter
        )
        if argv is not None and name != typed:
            continue
        module = importlib.import_module(module_name)
        if hasattr(module, "SUBCOMMANDS"):
            after = None if argv is None else argv[argv.index(name) + 1 :]
            _add_commands(command, "subcommand", module.SUBCOMMANDS, after)
        else:
            module.configure(command)
            command.epilog = _EXAMPLE + module.EXAMPLE
            command.set_defaults(run=module.run)


class _Formatter(argparse.HelpFormatter):
    """Leaves an example in one line, so that it can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLE) else super()._fill_text(text, width, indent)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
