"""What a message says to install can be installed."""

import shlex
import tomllib
from pathlib import Path

import pytest

from robobase.errors import UserError
from so101_robobase.base import extras

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_names_a_checkout_its_constraints_and_an_extra_of_it(extra):
    words = shlex.split(extras.install(extra))
    assert words[0] == "cd"
    assert Path(words[1]) == ROOT
    assert (ROOT / words[words.index("-c") + 1]).is_file()
    assert words[-2:] == ["-e", f".[{extra}]"]


def test_a_folder_with_spaces_is_quoted_and_a_wheel_needs_a_checkout(tmp_path):
    folder = tmp_path / "my robots"
    assert extras.install("robot", folder).startswith("in a checkout of this project: pip")
    folder.mkdir()
    (folder / "constraints-full.txt").touch()
    assert shlex.split(extras.install("robot", folder))[1] == str(folder)


def test_a_missing_package_is_named_with_that_command():
    with pytest.raises(UserError, match=r"no_such_package is not installed; it needs it: cd .* -e"):
        extras.require("no_such_package.part", "robot", "it")
