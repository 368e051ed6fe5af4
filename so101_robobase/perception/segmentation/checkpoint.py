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

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from robobase.errors import UserError
from so101_robobase.files import written_whole
from so101_robobase.observation import CLASSES
from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork

FORMAT = 1
BEST = "best.pt"
LAST = "last.pt"


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


def read(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint, as in the table above.

    Raises:
        UserError: no such file, damaged, no checkpoint of a segmentation network, or its classes
            are others.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"checkpoint {path} does not exist; `so101_robobase segmentation train` writes "
            f"{BEST} into its run folder"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch checks no checksum
        if damaged:
            raise UserError(f"checkpoint {path} is damaged (checksum of {damaged})")
        content = torch.load(path, map_location=device, weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch and zipfile raise many kinds for a file that is none of ours
        raise UserError(
            f"{path} is truncated or no checkpoint of a segmentation network; give the {BEST} of "
            "`so101_robobase segmentation train`"
        ) from error
    return _checked(content, path)


def load_network(path: Path | str, device: torch.device | str = "cpu") -> SegmentationNetwork:
    """The network of a checkpoint on `device`, ready to predict (evaluation mode).

    Raises UserError as `read` does, and if the weights fit no such architecture.
    """
    content = read(path, device)
    network = SegmentationNetwork(ModelSpec.from_state_dict(content["model"]))
    load_weights(network, content["weights"], path)
    return network.to(device).eval()


def load_weights(
    network: SegmentationNetwork, weights: Mapping[str, Any], path: Path | str
) -> None:
    """Puts `weights` of the checkpoint `path` into `network`.

    Raises UserError if they belong to another architecture.
    """
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
            f"{len(different)} weights differ, the first is {different[0]}; give the checkpoint "
            "that belongs to it, or train anew"
        )
    network.load_state_dict(dict(weights))


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
            f"checkpoint {path} has format {content['format']}, this version reads {FORMAT}; "
            "use the version that wrote it, or train anew"
        )
    if list(content["classes"]) != list(CLASSES):
        raise UserError(
            f"checkpoint {path} knows the classes {', '.join(content['classes'])}, this version "
            f"{', '.join(CLASSES)}; train anew"
        )
    return content
