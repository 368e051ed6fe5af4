"""Trained networks on disk: plain containers and tensors, written whole, checked when read.

| key       | content                                                                    |
|-----------|----------------------------------------------------------------------------|
| format    | 1                                                                          |
| classes   | names of the ids, as `observation.CLASSES`                                 |
| model     | `ModelSpec.state_dict()`                                                   |
| weights   | the network's state_dict                                                   |
| metrics   | {name: value} on the validation pictures when it was saved                 |
| training  | what a run needs to go on (`last.pt` only)                                 |
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from robobase import torch_file
from robobase.errors import UserError
from robobase.reading import GIB
from so101_robobase.base.files import written_whole
from so101_robobase.perception.network_cost import check_cost
from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork
from so101_robobase.vision.observation import CLASSES

FORMAT = 1
BEST = "best.pt"
LAST = "last.pt"

_MOST_BYTES = 16 * GIB
_MOST_EDGE = 2048  # pixels
_MOST_OPTION = 2048  # channels
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100})?", re.ASCII)
_OPTION = re.compile(r"decoder_\w{1,100}|encoder_depth|encoder_output_stride|upsampling", re.ASCII)


def save(
    path: Path,
    network: SegmentationNetwork,
    metrics: Mapping[str, float],
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write `network` to `path`; whenever power fails, the old or the new file is there."""
    content = {
        "format": FORMAT,
        "classes": list(CLASSES),
        "model": network.spec.state_dict(),
        "weights": network.state_dict(),
        "metrics": dict(metrics),
    }
    if training is not None:
        content["training"] = dict(training)
    with written_whole(path) as temporary:
        torch.save(content, temporary)


def read(path: Path | str) -> dict[str, Any]:
    """The content of a checkpoint, as in the table above; its tensors stay on the processor.

    It may be anybody's: `torch_file.read` says how it is read. Names in it choose among what the
    libraries of networks have; nothing is fetched.

    Raises:
        UserError: no such file, damaged, no checkpoint of a segmentation network, or its classes
            are others.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"checkpoint {path} does not exist; `so101_robobase segmentation train` writes "
            f"{BEST} into its run folder"
        )
    try:
        content = torch_file.read(path, _MOST_BYTES)
    except torch_file.DamagedFileError as error:
        raise UserError(
            f"checkpoint {path} is damaged ({error}); give the {BEST} of "
            "`so101_robobase segmentation train`"
        ) from error
    return _checked(content, path)


def load_network(path: Path | str, device: torch.device | str = "cpu") -> SegmentationNetwork:
    """The network of a checkpoint on `device`, ready to predict (evaluation mode).

    Raises UserError as `read` does, if the weights fit no such architecture, or if it takes more
    than `network_cost` allows to look at a picture.
    """
    content = read(path)
    spec = ModelSpec.from_state_dict(content["model"])
    if not spec.encoder.startswith("mit_"):  # these cannot be built without memory
        with torch.device("meta"):  # shapes alone: a network that does not fit takes no memory
            shapes = SegmentationNetwork(spec).eval()
        _check_fits(shapes, content["weights"], path)
        check_cost(shapes, spec.size, f"checkpoint {path}")
    network = SegmentationNetwork(spec).eval()
    load_weights(network, content["weights"], path)
    if spec.encoder.startswith("mit_"):
        check_cost(copy.deepcopy(network).to("meta"), spec.size, f"checkpoint {path}")
    return network.to(device)


def load_weights(
    network: SegmentationNetwork, weights: Mapping[str, Any], path: Path | str
) -> None:
    """Puts `weights` of the checkpoint `path` into `network`.

    Raises UserError if they belong to another architecture.
    """
    _check_fits(network, weights, path)
    network.load_state_dict(dict(weights))


def _check_fits(network: SegmentationNetwork, weights: Mapping[str, Any], path: Path | str) -> None:
    expected = network.state_dict()
    different = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected
        or name not in weights
        or expected[name].shape != weights[name].shape
    )
    if different:
        spec = network.spec
        raise UserError(
            f"checkpoint {path} is of another architecture than {spec.decoder} on {spec.encoder}: "
            f"{len(different)} weights differ, the first is {different[0][:100]!r}; give the "
            "checkpoint that belongs to it, or train anew"
        )


def _checked(content: Any, path: Path) -> dict[str, Any]:
    keys = {"format", "classes", "model", "weights", "metrics"}
    if not isinstance(content, dict) or not keys <= content.keys():
        held = ", ".join(map(str, list(content)[:4])) if isinstance(content, dict) else "no mapping"
        raise UserError(
            f"{path} is no checkpoint of a segmentation network (it holds {held}); give the {BEST} "
            "of `so101_robobase segmentation train`"
        )
    if content["format"] != FORMAT:
        raise UserError(
            f"checkpoint {path} has format {content['format']!r:.50}, this version reads {FORMAT}; "
            "use the version that wrote it, or train anew"
        )
    if content["classes"] != list(CLASSES):
        raise UserError(
            f"checkpoint {path} knows the classes {content['classes']!r:.200}, this version "
            f"{', '.join(CLASSES)}; train anew"
        )
    if not _is_model(content["model"]) or not _are_metrics(content["metrics"]):
        raise UserError(f"checkpoint {path} describes no network that can be built; train anew")
    if not isinstance(content.get("training"), dict | None):
        raise UserError(f"checkpoint {path} holds no state of a training; start a new run")
    weights = content["weights"]
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in weights.items()
    ):
        raise UserError(f"checkpoint {path} holds no weights; train anew")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"checkpoint {path} cannot be used: its weights hold numbers that are not finite "
                f"({name[:100]!r}); train anew, with a lower learning rate"
            )
    return content


def _is_model(model: Any) -> bool:
    """Whether `model` is a `ModelSpec.state_dict()` with options that are numbers or words."""
    if not isinstance(model, dict) or model.keys() != {f.name for f in fields(ModelSpec)}:
        return False
    size, options = model["size"], model["decoder_options"]
    return (
        all(isinstance(model[key], str) for key in ("decoder", "encoder"))
        and bool(_NAME.fullmatch(model["decoder"]) and _NAME.fullmatch(model["encoder"]))
        and isinstance(size, list)
        and all(type(edge) is int and edge <= _MOST_EDGE for edge in size)
        and isinstance(options, dict)
        and all(
            isinstance(key, str) and _OPTION.fullmatch(key) and _is_option(value)
            for key, value in options.items()
        )
    )


def _is_option(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 16 and all(type(item) is int and _is_option(item) for item in value)
    if isinstance(value, str):
        return bool(_NAME.fullmatch(value))
    return (
        value is None
        or isinstance(value, bool)
        or (isinstance(value, int | float) and 0 <= value <= _MOST_OPTION)
    )


def _are_metrics(metrics: Any) -> bool:
    return isinstance(metrics, dict) and all(
        isinstance(name, str) and isinstance(value, int | float) for name, value in metrics.items()
    )
