"""Help, and what is wrong with an argument, are told before anything heavy is imported."""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robobase.errors import UserError
from so101_robobase import arguments, cli

HEAVY = (
    *("torch", "torchvision", "mujoco", "cv2", "matplotlib", "scipy", "hydra", "omegaconf"),
    *("transformers", "timm", "segmentation_models_pytorch", "onnxruntime", "lerobot", "rerun"),
)
RUN = f"""
import sys
from so101_robobase.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as exit:
    code = exit.code or 0
print("loaded", [name for name in {HEAVY!r} if name in sys.modules])
sys.exit(code)
"""


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator:
    """(words, parser) of every command below `parser`."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, (*words, name))


def all_commands() -> dict[str, argparse.ArgumentParser]:
    found = {}
    for name, (module, _) in cli.COMMANDS.items():
        parser = argparse.ArgumentParser()
        importlib.import_module(module).configure(parser)
        found |= {" ".join(words): leaf for words, leaf in leaves(parser, (name,))}
    return found


COMMANDS = all_commands()


def run(*words: str) -> tuple[subprocess.CompletedProcess, float]:
    """What `so101_robobase WORDS` did, and the seconds of a core that it took."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=120
    )
    after = os.times()
    taken = after.children_user + after.children_system
    return done, taken - before.children_user - before.children_system


@pytest.mark.parametrize("words", ["", *cli.COMMANDS, *COMMANDS])
def test_help_takes_less_than_a_second_and_imports_nothing_heavy(words):
    done, seconds = run(*words.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert seconds < 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate nope.pt", "nope.pt does not exist; give a *_snapshot.pt"),
        ("evaluate . --num_episodes 0", "--num_episodes 0 is too small; give 1 or more"),
        ("evaluate . --reward_version v99", "reward_version='v99' is unknown"),
        ("evaluate . --device gpu", "--device 'gpu' is unknown; known: auto, cpu, cuda"),
        ("compare nope", "nope does not exist"),
        ("segmentation infer nope.png --checkpoint .", "nope.png does not exist; give a picture"),
        ("segmentation infer 0 --checkpoint nope.pt", "nope.pt does not exist"),
        ("segmentation dataset", "say where the dataset goes"),
        ("segmentation dataset --output out --size big", "--size: frame size 'big'"),
        ("segmentation dataset --check nope", "nope does not exist; give a folder of labelled"),
        ("segmentation train --data nope", "nope does not exist; give a folder of labelled"),
        ("segmentation evaluate nope.pt .", "nope.pt does not exist"),
        ("perception parity --output out", "nothing to compare"),
        ("perception parity --output out --snapshot nope.pt", "nope.pt does not exist"),
        ("perception benchmark", "no network to measure"),
        ("perception export --segmentation nope.pt --output a.onnx", "nope.pt does not exist"),
        ("perception export --segmentation . --output a.pt", "must end in .onnx"),
        ("robot rollout nope.pt --robot sim", "nope.pt does not exist; give a *_snapshot.pt"),
        ("robot rollout . --robot real", "--robot real needs --port, --camera, --calibration"),
        ("robot rollout . --robot sim --alignment nope.yaml", "nope.yaml does not exist"),
        ("robot check --port x --calibration nope.json", "nope.json does not exist"),
        ("robot align joints --output a.yaml", "give --port and --calibration"),
        ("robot align camera --output a.yaml --frames nope", "nope does not exist"),
        ("robot replay nope.npz", "nope.npz does not exist"),
        ("robot identify --output a.yaml", "give recordings to fit to"),
        ("robot identify nope --output a.yaml", "nope does not exist"),
        ("robot emulator --faults nope.yaml", "nope.yaml does not exist"),
    ],
)
def test_a_wrong_argument_is_one_line_before_anything_heavy_is_imported(words, message):
    done, _ = run(*words.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.splitlines()[-1] == "loaded []"


WRITTEN = {"output", "output_dir", "overlays", "live_png", "record", "poses", "link"}
WRITTEN |= {"calibration_dir", "frames", "export_coco"}  # what --frames and DIR hold is checked too


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
