"""Help, and what is wrong with an argument, are told before anything heavy is imported."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robobase.errors import UserError
from so101_robobase.base import arguments, cli

HEAVY = (
    *("torch", "torchvision", "mujoco", "cv2", "matplotlib", "scipy", "hydra", "omegaconf"),
    *("transformers", "timm", "segmentation_models_pytorch", "onnxruntime", "lerobot", "rerun"),
)
# Runs one command after the other in one process: what one imports is held against it and the rest.
RUN = f"""
import contextlib, io, json, sys
from so101_robobase.base.cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(json.loads(line))
        except SystemExit as exit:
            code = exit.code or 0
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    print(json.dumps([code, out.getvalue(), err.getvalue(), loaded]))
"""


def run(commands: list[str]) -> dict[str, list]:
    """{command: [exit code, stdout, stderr, heavy modules that are loaded by then]}"""
    lines = "".join(json.dumps(command.split()) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=lines, capture_output=True, text=True, check=True
    )
    return dict(zip(commands, map(json.loads, done.stdout.splitlines()), strict=True))


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator:
    """(words, parser) of every command below `parser`."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not any(action.required for action in below):
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, (*words, name))


COMMANDS = {" ".join(words): leaf for words, leaf in leaves(cli.build_parser())}


HELP = [f"{command} --help".strip() for command in ["", *cli.COMMANDS, *COMMANDS]]


@pytest.fixture(scope="module")
def helped() -> dict[str, list]:
    return run(HELP)


@pytest.mark.parametrize("command", HELP)
def test_help_imports_nothing_heavy(helped, command):
    code, out, _, loaded = helped[command]
    assert code == 0
    assert out.startswith("usage: so101_robobase")
    assert loaded == []


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_takes_less_than_a_second(command):
    """Of a core, whatever else the machine does. A command imports those below it for its help."""
    before = os.times()
    words = [sys.executable, "-m", "so101_robobase", *command.split(), "--help"]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    taken = after.children_user + after.children_system
    assert taken - before.children_user - before.children_system < 1


HYDRA = {"hydra", "omegaconf"}
MODULES = {  # words: (exit code, what they say, what they cannot do without)
    "so101_robobase.robot.emulator --help": (0, "settings on stdin", set()),
    "so101_robobase.robot.emulator": (2, "required: link, folder", set()),
    "robobase.train --help": (0, "Powered by Hydra", HYDRA),
    "robobase.train env=nope": (2, "env=nope is unknown", HYDRA),
    "robobase.train env=so101_lift batch_size=0": (2, "batch_size=0", HYDRA | {"mujoco", "cv2"}),
    "robobase.train env=so101_lift resume_from=nope/1_snapshot.pt": (
        2,
        "does not exist",
        HYDRA | {"mujoco", "cv2"},
    ),
}
RUN_MODULE = f"""
import contextlib, runpy, sys
module = sys.argv.pop(1)
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as exit:
    print("code", exit.code or 0)
print("loaded", *(name for name in {HEAVY!r} if name in sys.modules))
"""


@pytest.mark.parametrize("words", MODULES)
def test_a_module_tells_help_and_mistakes_before_torch_is_imported(words, tmp_path):
    program = [sys.executable, "-c", RUN_MODULE, *words.split()]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    code, said, needs = MODULES[words]
    assert done.returncode == 0, done
    *_, ended, loaded = done.stdout.splitlines()
    assert ended == f"code {code}"
    assert said in done.stdout + done.stderr
    assert set(loaded.split()[1:]) <= needs


WRONG = {
    "evaluate nope.pt": "nope.pt does not exist; give a *_snapshot.pt",
    "evaluate . --num_episodes 0": "--num_episodes 0 is too small; give 1 or more",
    "evaluate . --device gpu": "--device 'gpu' is unknown; known: auto, cpu, cuda",
    "report nope": "nope does not exist",
    "runs compare nope": "nope does not exist",
    "segmentation infer nope.png --checkpoint .": "nope.png does not exist; give a picture",
    "segmentation infer 0 --checkpoint nope.pt": "nope.pt does not exist",
    "segmentation dataset": "say where the dataset goes",
    "segmentation dataset --output out --size big": "--size: frame size 'big'",
    "segmentation dataset --check nope": "nope does not exist; give a folder of labelled",
    "segmentation train --data nope": "nope does not exist; give a folder of labelled",
    "segmentation evaluate nope.pt .": "nope.pt does not exist",
    "perception parity --output out": "nothing to compare",
    "perception parity --output out --snapshot nope.pt": "nope.pt does not exist",
    "perception benchmark": "no network to measure",
    "perception export --segmentation nope.pt --output a.onnx": "nope.pt does not exist",
    "perception export --segmentation . --output a.pt": "must end in .onnx",
    "robot rollout nope.pt --robot sim": "nope.pt does not exist; give a *_snapshot.pt",
    "robot rollout . --robot real": "--robot real needs --port, --camera, --calibration",
    "robot rollout . --robot sim --alignment nope.yaml": "nope.yaml does not exist",
    "robot align joints --output a.yaml": "give --port and --calibration",
    "robot align camera --output a.yaml --frames nope": "nope does not exist",
    "robot replay nope.npz": "nope.npz does not exist",
    "robot identify --output a.yaml": "give recordings to fit to",
    "robot identify nope --output a.yaml": "nope does not exist",
    "robot emulator hand --pose ahead --to 3": "--joint goes with --to or --by",
    "robot emulator --faults nope.yaml": "nope.yaml does not exist",
}


@pytest.fixture(scope="module")
def refused() -> dict[str, list]:
    return run(list(WRONG))


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_argument_is_one_line_before_anything_heavy_is_imported(refused, command):
    code, _, err, loaded = refused[command]
    assert code == 2
    assert WRONG[command] in err
    assert err.count("\n") == 1
    assert loaded == []


WRITTEN = {"output", "output_dir", "overlays", "live_png", "record", "poses", "link", "csv", "json"}
# These are looked at later: by `robot check` with a line, the others with what is in them.
WRITTEN |= {"calibration_dir", "calibration", "frames", "export_coco"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_with_a_number_has_a_range_and_every_input_must_exist(command):
    """Pairs and triples are geometry, of which the scene says what may be."""
    for action in COMMANDS[command]._actions:
        name = f"{command} {action.dest}"
        if action.type in (int, float) and action.nargs != 3:
            assert isinstance(action, arguments.Number), name
        if action.type is Path and action.dest not in WRITTEN:
            assert isinstance(action, arguments.Input), name
        if action.dest == "device":
            assert isinstance(action, arguments.Device), name


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "700"])
def test_a_number_outside_its_range_is_refused(value):
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float, action=arguments.Number, least=0, most=600)
    with pytest.raises(UserError, match=f"--x {value}"):
        parser.parse_args([f"--x={value}"])


def test_repetitions_and_lists_are_kept(tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument("--a", action=arguments.Input, what="x", append=True, default=[])
    parser.add_argument("--b", action=arguments.Input, what="x", nargs="+")
    words = ["--a", str(tmp_path), "--a", ".", "--b", ".", str(tmp_path)]
    args = parser.parse_args(words)
    assert args.a == [tmp_path, Path()]
    assert args.b == [Path(), tmp_path]
    assert parser.parse_args(words).a == [tmp_path, Path()]
