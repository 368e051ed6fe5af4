"""Writes docs/settings.md: every setting of `env`, from the dataclasses that declare them.

python docs/settings_page.py [--check]

What a setting means stands in its class: in the docstring, under `Attributes:` or in a table, or as
a comment beside or above the field. Comments that begin with `# ----` are headings.
"""

import argparse
import ast
import dataclasses
import inspect
import math
import re
import sys
import textwrap
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robobase.settings.setting import Setting
from so101_robobase.tasks import names
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import entry
from so101_robobase.tasks.settings import defaults, settings_of

HERE = Path(__file__).parent
PAGE = HERE / "settings.md"
FIRST = "lift"  # the task that is told in full
HEADING = "# ---- "

NOT_THE_TASKS = {
    "env.env_name": "the task's name, in results and in the name of the run's folder",
    "env.num_classes": "class ids that the task's pictures may hold",
    "env.eval_stage": "where evaluations start; null: as `stage`",
    "env.mixture": "the stages from which the whole task is learnt: `stage` of `launch=teacher`",
    "env.stddev_schedule": "exploration noise over env steps, of methods that have it",
    "env.channel_kinds": "of its channels: ids, which the encoder expands to one-hot, or values",
}
"""Keys of `env` that the engine, the method or presets read."""

TOP = f"""# Settings of `env`

Every key of `env=so101_{FIRST}` with its default, then what differs for the other tasks. Made by
`python docs/settings_page.py` from the dataclasses that declare and check them; keys of the run, of
methods and of the replay buffer are in
[robobase_config.yaml](../external/robobase/robobase/cfgs/robobase_config.yaml), what tasks of this
arm make of them in [cfgs/so101.yaml](../cfgs/so101.yaml).

`python -m robobase.train env=so101_{FIRST} env.stage=0 env.scene.cube_mass=0.02`. A setting that is
read only with another one is an error without it, where you gave it yourself. A control step is
20 ms.
"""


def page() -> str:
    """The whole page."""
    config = entry(FIRST).config
    parts = [TOP, _stages(config)]
    groups: dict[str, list[str]] = {}
    known = {key: item for key, item in settings_of(config).items() if key.startswith("env.")}
    for key in sorted(known, key=lambda key: key.count(".") > 1):  # those of env itself first
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    parts += [_group(config, group, keys, known) for group, keys in groups.items()]
    parts += [_difference(name, known) for name in names() if name != FIRST]
    return "\n".join(parts)


def _stages(config: type[TaskConfig]) -> str:
    lines = [f"| {number} | {text} |" for number, text in config.STAGES.items()]
    return "\n".join(["| `env.stage` | where episodes start |", "|---|---|", *lines, ""])


def _group(
    config: type[TaskConfig], group: str, keys: list[str], known: Mapping[str, Setting]
) -> str:
    owner = _class_of(config, group)
    needs = [set(_needs(known[key])) for key in keys if _name(key) != "enabled"]
    shared = set.intersection(*needs) if len(needs) > 1 else set()
    lines = [f"## `{group}`", "", *_told(config, group)]
    if shared:
        lines += [f"Read only with {' and '.join(sorted(shared))}.", ""]
    lines += ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for key in keys:
        if heading := _heading(owner, _name(key)):
            lines.append(f"| **{heading}** | | | |")
        own = [says for says in _needs(known[key]) if says not in shared]
        lines.append(_row(config, key, known[key], own))
    return "\n".join([*lines, ""])


def _row(config: type[TaskConfig], key: str, setting: Setting, needs: list[str]) -> str:
    meaning = _meaning(config, key)
    if needs:
        meaning += f"; read only with {' and '.join(needs)}"
    cells = (f"`{_name(key)}`", f"`{_shown(_default(config, key))}`", str(setting.kind), meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _difference(task: str, of_first: Mapping[str, Setting]) -> str:
    config = entry(task).config
    first = entry(FIRST).config
    own = {key: item for key, item in settings_of(config).items() if key.startswith("env.")}
    lines = [f"## `env=so101_{task}`", "", _prose(config), "", _stages(config)]
    lines += ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for key, setting in own.items():
        if (
            key not in of_first
            or str(of_first[key].kind) != str(setting.kind)
            or _default(first, key) != _default(config, key)
        ):
            row = _row(config, key, setting, _needs(setting))
            lines.append(row.replace(f"`{_name(key)}`", f"`{key.removeprefix('env.')}`", 1))
    missing = [f"`{key.removeprefix('env.')}`" for key in of_first if key not in own]
    return "\n".join([*lines, "", *([f"Without {', '.join(missing)}.", ""] if missing else [])])


def _needs(setting: Setting) -> list[str]:
    """What a setting needs to be read, its keys as code; not what the method decides."""
    code = r"((?:env|method)\.[\w.]+(?:=[\w|]+)?|\w+=\d+)"
    return [re.sub(code, r"`\1`", need.says) for need in setting.needs if need.keys]


def _name(key: str) -> str:
    return key.rpartition(".")[2]


def _class_of(config: type, group: str) -> type | None:
    """The dataclass that declares the settings of `group`, such as `env.scene`."""
    found: Any = config
    for part in group.split(".")[1:]:
        found = typing.get_type_hints(found).get(part)
        if not dataclasses.is_dataclass(found):
            return None
    return typing.cast(type, found)


def _default(config: type[TaskConfig], key: str) -> Any:
    values: Any = {"env": defaults(config)}
    if key == "env.stddev_schedule":
        values = OmegaConf.to_container(OmegaConf.load(HERE.parent / "cfgs" / "so101.yaml"))
    for part in key.split("."):
        values = values[part]
    return values


def _meaning(config: type[TaskConfig], key: str) -> str:
    """One line of what a setting means. Raises LookupError where its class does not say."""
    for known, text in NOT_THE_TASKS.items():
        if key == known or key.startswith(f"{known}."):
            return text
    group, _, name = key.rpartition(".")
    for owner in (_class_of(config, group) or object).__mro__:
        text = _attributes(owner).get(name) or _comments(owner).get(name, ("", ""))[0]
        if text:
            return _plain(text.rstrip("."))
    raise LookupError(f"{key}: its class does not say what it means")


def _heading(owner: type | None, name: str) -> str:
    return _comments(owner).get(name, ("", ""))[1] if owner else ""


def _prose(owner: type) -> str:
    """The docstring of a class without the part that lists attributes."""
    text = inspect.cleandoc(owner.__doc__ or "").partition("\nAttributes:")[0].strip()
    rows = _attributes(owner).keys() & set(re.findall(r"^\| (\w+) ", text, re.MULTILINE))
    kept = [line for line in text.splitlines() if not rows or not line.startswith("|")]
    return _plain(re.sub(r"\n{3,}", "\n\n", "\n".join(kept)))


def _told(config: type[TaskConfig], group: str) -> list[str]:
    """What the class of a group says, and of `env` what all tasks have in common."""
    owner = _class_of(config, group)
    owners = [] if owner is None else [owner, TaskConfig] if owner is config else [owner]
    return [part for each in owners for part in (_prose(each), "")]


@cache
def _attributes(owner: type) -> dict[str, str]:
    """Meanings by field, from a docstring's `Attributes:` or its table of three columns."""
    text = inspect.cleandoc(vars(owner).get("__doc__") or "")
    found = {}
    for name, unit, meaning in re.findall(
        r"^\| (\w+) +\| (\S.*?) *\| (.*?) *\|$", text, re.MULTILINE
    ):
        found[name] = meaning if unit in ("-", "unit") else f"{unit}: {meaning}"
    listed = text.partition("Attributes:\n")[2]
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
        found[name] = " ".join(meaning.split())
    fields = (
        {item.name for item in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else ()
    )
    return {name: meaning for name, meaning in found.items() if name in fields}


@cache
def _comments(owner: type) -> dict[str, tuple[str, str]]:
    """(comment, heading above) by field, of the class's own source."""
    if not dataclasses.is_dataclass(owner):
        return {}
    source = textwrap.dedent(inspect.getsource(owner))
    lines = source.splitlines()
    found = {}
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above: list[str] = []
        row = node.lineno - 2
        while lines[row].lstrip().startswith("#"):
            above.insert(0, lines[row].strip())
            row -= 1
        beside = lines[(node.end_lineno or 0) - 1].encode()[node.end_col_offset :].decode().strip()
        headings = [line.removeprefix(HEADING) for line in above if line.startswith(HEADING)]
        told = [line for line in above if not line.startswith(HEADING)]
        text = " ".join(line.lstrip("# ") for line in [*told, beside] if line)
        found[node.target.id] = text, "".join(headings)
    return found


def _plain(text: str) -> str:
    """Words of Python as YAML has them; keys of the run as code."""
    for word, meant in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{word}\b", meant, text)
    return text


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where the page is not current")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/settings.md is not current: python docs/settings_page.py")


if __name__ == "__main__":
    main()
