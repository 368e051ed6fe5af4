"""A folder with a depth network, whoever made it: its numbers are read, nothing in it is run.

Network and processor are built here, by classes of transformers that are named here, from the
numbers that stand in the folder's JSON files. No other key of them reaches transformers: what
would have code imported or another model fetched is refused, what is unknown is left aside.
Weights are those of a safetensors file alone.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from robobase.errors import UserError
from robobase.reading import GIB, MIB, read_json, reason
from robobase.settings.kinds import Choice, Flag, Items, Kind, Number, Whole, checked
from so101_robobase.base.extras import require_perception
from so101_robobase.perception.network_cost import check_cost

CONFIG, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
FILES = (CONFIG, PROCESSOR, WEIGHTS)
"""What a folder must hold."""

_REFUSED = (
    "auto_map",
    "backbone",
    "backbone_kwargs",
    "code_revision",
    "custom_pipelines",
    "trust_remote_code",
    "use_pretrained_backbone",
    "use_timm_backbone",
)
_MOST_WEIGHTS = 8 * GIB
_MOST_TENSORS = 5000
_LEAST_OF_A_HEAD = 8  # numbers; Depth Anything has 64, and many small ones take long

_BACKBONE: dict[str, Kind] = {  # of Dinov2Config
    "hidden_size": Whole(1, 4096),
    "num_hidden_layers": Whole(1, 100),
    "num_attention_heads": Whole(1, 128),
    "mlp_ratio": Number(0.5, 16),
    "hidden_act": Choice("gelu", "gelu_new", "relu", "selu"),
    "layer_norm_eps": Number(0, 1),
    "image_size": Whole(14, 2048),
    "patch_size": Whole(8, 64),
    "num_channels": Choice(3),
    "qkv_bias": Flag(),
    "layerscale_value": Number(0, 10),
    "use_swiglu_ffn": Flag(),
    "out_features": Items(Choice(*(f"stage{k}" for k in range(1, 101))), 1, 8),
    "out_indices": Items(Whole(-100, 100), 1, 8),
    "apply_layernorm": Flag(),
    "reshape_hidden_states": Flag(),
    "use_mask_token": Flag(),
}
_NETWORK: dict[str, Kind] = {  # of DepthAnythingConfig
    "patch_size": Whole(8, 64),
    "reassemble_hidden_size": Whole(1, 4096),
    "reassemble_factors": Items(Choice(0.25, 0.5, 1, 2, 4, 1.0, 2.0, 4.0), 1, 8),
    "neck_hidden_sizes": Items(Whole(1, 4096), 1, 8),
    "fusion_hidden_size": Whole(1, 4096),
    "head_in_index": Whole(-8, 7),
    "head_hidden_size": Whole(1, 256),  # at the size of the picture, however few the weights
}
_SIZE: dict[str, Kind] = {"height": Whole(14, 1036), "width": Whole(14, 1036)}
_PICTURE: dict[str, Kind] = {  # of the processor
    "do_resize": Choice(True),
    "do_rescale": Choice(True),
    "do_normalize": Choice(True),
    "resample": Whole(0, 5),
    "rescale_factor": Number(1e-6, 1),
    "image_mean": Items(Number(-1000, 1000), 3, 3),
    "image_std": Items(Number(1e-6, 1000), 3, 3),
    "keep_aspect_ratio": Flag(),
    "ensure_multiple_of": Whole(1, 64),
}


def load(folder: Path) -> tuple[Any, Any]:
    """Model, in evaluation mode on the processor, and the processor of its pictures.

    Raises:
        UserError: no Depth Anything model for relative depth, a file that cannot be read, a value
            that is not allowed, or weights of another architecture.
    """
    transformers = require_perception("transformers")
    require_perception("torchvision")
    config, picture = (_json(folder, name) for name in (CONFIG, PROCESSOR))
    _check_kind(folder, config)
    values = _taken(config, _NETWORK, folder / CONFIG)
    backbone = _taken(
        _group(config, "backbone_config", folder / CONFIG), _BACKBONE, folder / CONFIG
    )
    processing = _taken(picture, _PICTURE, folder / PROCESSOR)
    size = _taken(_group(picture, "size", folder / PROCESSOR), _SIZE, folder / PROCESSOR)
    # Before version 5 the class without `Fast` is nine times slower.
    processor = getattr(transformers, "DPTImageProcessorFast", transformers.DPTImageProcessor)
    try:
        settings = transformers.DepthAnythingConfig(
            backbone_config=transformers.Dinov2Config(**backbone), **values
        )
        with torch.device("meta"):  # shapes alone: memory is what the file's weights take
            model = transformers.DepthAnythingForDepthEstimation(settings).eval()
        _check_cost(model, size, folder)
        _load_weights(model, folder / WEIGHTS)
        return model, processor(size=size, **processing)
    except UserError:
        raise
    except Exception as error:  # sizes that do not go together make these libraries raise anything
        raise UserError(f"{folder} cannot be loaded as Depth Anything: {reason(error)}") from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    content = read_json(folder / name, MIB, "depth network's", "download it anew")
    if not isinstance(content, dict):
        raise UserError(f"{folder / name} cannot be loaded: it holds no settings")
    _check_harmless(content, folder / name)
    return content


def _check_harmless(node: Any, file: Path) -> None:
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            _check_harmless(value, file)
    for key in _REFUSED if isinstance(node, dict) else ():
        if node.get(key):  # null and false stand in every file
            raise UserError(
                f"{file} has {key!r}, which would have code run or another model fetched; only "
                "networks whose settings are all in the file are loaded"
            )


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("model_type")
    if kind != "depth_anything":
        raise UserError(
            f"{folder} holds a {reason(ValueError(repr(kind)))} model; give a Depth Anything "
            "model, such as depth-anything/Depth-Anything-V2-Small-hf"
        )
    estimates = config.get("depth_estimation_type", "relative")
    if estimates != "relative":
        what = "metric" if estimates == "metric" else "another kind of"
        raise UserError(
            f"{folder} predicts {what} depth, not disparity; give a model for relative depth, "
            "such as depth-anything/Depth-Anything-V2-Small-hf"
        )
    backbone = config.get("backbone_config")
    if not isinstance(backbone, dict) or backbone.get("model_type") != "dinov2":
        raise UserError(
            f"{folder} cannot be loaded: its backbone_config must be one of model_type dinov2"
        )


def _group(content: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    group = content.get(key)
    if not isinstance(group, dict):
        raise UserError(f"{file} cannot be loaded: {key} must be a group of settings")
    return group


def _taken(content: Mapping[str, Any], known: Mapping[str, Kind], file: Path) -> dict[str, Any]:
    """The known keys of `content` that are set; UserError for a value that is not allowed."""
    taken = {key: content[key] for key in known if content.get(key) is not None}
    for key, value in taken.items():
        checked(known[key], f"{file} cannot be loaded: {key}", value)
    return taken


def _check_cost(model: Any, size: Mapping[str, int], folder: Path) -> None:
    """UserError where the network is too costly for a camera's picture, which is 4 by 3."""
    backbone = model.config.backbone_config
    if backbone.hidden_size < _LEAST_OF_A_HEAD * backbone.num_attention_heads:
        raise UserError(f"{folder} cannot be loaded: num_attention_heads is not allowed")
    edges = size.get("height", 518), size.get("width", 518) * 4 // 3
    patch = backbone.patch_size
    check_cost(model, [max(1, edge // patch) * patch for edge in edges], folder)


def _load_weights(model: torch.nn.Module, file: Path) -> None:
    """Put the tensors of `file` into `model`, which has none, once names and shapes agree."""
    safetensors = require_perception("safetensors")
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_WEIGHTS:
        raise UserError(f"{file} cannot be loaded: no regular file of at most 8 GiB")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safetensors.safe_open(file, framework="pt") as content:
            names = set(content.keys())
            if len(names) > _MOST_TENSORS:
                raise UserError(f"{file} cannot be loaded: it has {len(names)} tensors")
            wrong = sorted(
                name
                for name in names | expected.keys()
                if name not in names
                or tuple(content.get_slice(name).get_shape()) != expected.get(name)
            )
            if wrong:
                raise UserError(
                    f"{file}: {len(wrong)} tensors differ from what its config.json describes "
                    f"({reason(ValueError(wrong[0]))}); they belong to another architecture"
                )
            weights = {name: content.get_tensor(name).float() for name in sorted(names)}
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{file} cannot be loaded: {reason(error)}") from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{file} cannot be used: {name} holds numbers that are not finite")
    model.load_state_dict(weights, assign=True)
    left = [name for name, value in model.named_buffers() if value.is_meta]
    if left:
        raise UserError(f"{file} cannot be loaded: it has no {left[0]}")
