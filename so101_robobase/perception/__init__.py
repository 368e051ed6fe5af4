"""From camera pictures to what the policy sees: class ids and disparity.

The networks need the extra `perception`; training a policy does without this package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from so101_robobase.perception.depth import DepthInference
    from so101_robobase.perception.segmentation.inference import SegmentationInference

__all__ = ["DepthInference", "SegmentationInference"]

_MODULES = {
    "DepthInference": "so101_robobase.perception.depth",
    "SegmentationInference": "so101_robobase.perception.segmentation.inference",
}


def __getattr__(name: str) -> Any:
    """Import a network's class when it is asked for: torch and transformers take seconds."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
