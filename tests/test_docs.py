"""What README and docs/ name exists: links, files, commands, options, settings, environments."""

import argparse
import re
import shlex
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import gymnasium as gym
import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf

import so101_robobase  # noqa: F401 - registers the environments
from so101_robobase.base import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "policies" / "README.md",
]
TOP = ("external/robobase/robobase", "external/robobase", "so101_robobase", "")
"""Where a path in a text may begin."""
NOT_OURS = ("runs/", "snapshots/", "my_", "data/", "devlog/NNN")
PLACEHOLDERS = {"<time>": "1", "<name>": "so101_lift", "env=mine": "env=so101_lift", "…": "x"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_pages_are_found():
    assert {"README.md", "train.md", "settings.md"} <= {page.name for page in PAGES}


@pages
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = unquote(target).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (heading and heading not in headings(file)):
            broken.append(target)
    assert broken == []


def headings(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pages
def test_files_that_are_named_exist(page):
    words = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|yaml|md|ipynb|pt|svg))`", page.read_text())
    ours = [word for word in words if not word.startswith(NOT_OURS)]
    missing = [
        word
        for word in ours
        if not any((folder / word).exists() for folder in (page.parent, *map(ROOT.joinpath, TOP)))
    ]
    assert missing == []


@pages
def test_commands_and_their_options_exist(page):
    assert unknown(commands(page, "so101_robobase")) == []


def test_every_command_explains_itself_by_an_example_that_exists():
    waiting, examples = [("so101_robobase", command_parser())], []
    while waiting:
        name, parser = waiting.pop()
        nested = subcommands(parser)
        waiting += [(f"{name} {word}", one) for word, one in nested.items()]
        if not nested or parser.epilog:
            assert str(parser.epilog).startswith(f"example: {name}"), name
            examples.append(shlex.split(parser.epilog.removeprefix("example: ")))
    assert len(examples) > 10
    assert unknown(examples) == []


def unknown(lines: list[list[str]]) -> list[str]:
    """Commands and options in `lines` that there are not."""
    wrong = []
    for words in lines:
        parser, rest = command_parser(), words[1:]
        while (nested := subcommands(parser)) and rest and re.fullmatch(r"[a-z_]+", rest[0]):
            if rest[0] not in nested:
                wrong.append(" ".join(words))
                break
            parser, rest = nested[rest[0]], rest[1:]
        known = {option for action in parser._actions for option in action.option_strings}
        options = {word.split("=")[0] for word in rest if word.startswith("-") and len(word) > 1}
        wrong += [f"{' '.join(words)}: {option}" for option in options - known]
    return wrong


@pages
def test_trainings_can_be_composed(page):
    wrong = {}
    for words in commands(page, "python -m robobase.train"):
        settings = [word for word in words[3:] if "=" in word and not word.startswith("hydra")]
        try:
            composed(tuple(one_of_each(settings)))
        except Exception as error:
            wrong[" ".join(words)] = str(error)
    assert wrong == {}


@pages
def test_settings_that_are_named_exist(page):
    named = re.findall(
        r"`\+?((?:env|replay|method|wandb|tb|snapshot_keeper)\.[\w.]+)[=`]", page.read_text()
    )
    missing = [key for key in named if not any(has(config, key) for config in every_config())]
    assert missing == []


@pages
def test_environments_that_are_named_are_registered(page):
    named = set(re.findall(r"so101_robobase/\w+-v\d+", page.read_text()))
    assert named <= set(gym.registry)


def commands(page: Path, program: str) -> list[list[str]]:
    """Command lines of `program`, in blocks and in the text, as lists of words."""
    text = page.read_text().replace("\\\n", " ")
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = []
    for line in lines:
        for part in re.split(r"&&|;| \| ", line):
            begin = re.match(r"\s*(?:\$ |\w+=\")?" + re.escape(program) + r" ", part)
            if begin:
                found.append(words_of(part[begin.end() - len(program) - 1 :]))
    return found


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line.strip('"'), comments=True)
    except ValueError:
        return shlex.split(line.replace('"', "").replace("'", ""), comments=True)


@cache
def command_parser() -> argparse.ArgumentParser:
    return cli.build_parser()


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def one_of_each(settings: list[str]) -> list[str]:
    """Of what is swept the first value, of what is searched the lowest."""
    return [
        f"{one.get_key_element()}={first_value(one)}"
        if one.is_sweep_override()
        else str(one.input_line)
        for one in OverridesParser.create().parse_overrides(settings)
    ]


def first_value(swept: Override) -> object:
    value = swept.value()
    is_interval = isinstance(value, IntervalSweep)
    return value.start if is_interval else next(iter(swept.sweep_string_iterator()))


@cache
def composed(settings: tuple[str, ...]):
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        return hydra.compose("robobase_config", overrides=list(settings))


def every_config():
    methods = ("drqv2", "dagger", "sac", "ppo", "bc")
    return [composed(("env=so101_place", f"method={name}")) for name in methods]


def has(config, key: str) -> bool:
    *groups, last = key.split(".")
    node = OmegaConf.select(config, ".".join(groups))
    return OmegaConf.is_config(node) and last in node
