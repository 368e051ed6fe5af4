"""ImageNet weights for the encoder, where a model hub can be reached or holds a copy here."""

import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from robobase.errors import UserError, first_line
from so101_robobase.base.extras import require_perception

ENCODER_WEIGHTS = ("auto", "imagenet", "none")
_TIMEOUT = 5  # seconds; the hub's own client tries for 45
_Network = TypeVar("_Network")


def with_encoder_weights(
    choice: str, build: Callable[[bool], _Network], report: Callable[[str], None]
) -> _Network:
    """`build(pretrained)` as `choice` says.

    "none" starts from random weights, "imagenet" insists on pretrained ones, "auto" takes them if
    it can and else says in one line through `report` that training starts from scratch.

    Raises UserError if `choice` is unknown or "imagenet" cannot be had.
    """
    if choice not in ENCODER_WEIGHTS:
        raise UserError(
            f"model.encoder_weights={choice!r} is unknown; known: {', '.join(ENCODER_WEIGHTS)}"
        )
    if choice == "none":
        return build(False)
    try:
        with contextlib.nullcontext() if _hub_answers() else _from_cache_only():
            return build(True)
    except UserError:
        raise
    except (OSError, RuntimeError) as error:
        if choice == "imagenet":
            raise UserError(
                f"no ImageNet weights for the encoder ({first_line(error)}); connect to "
                f"{_endpoint()}, copy its cache here, or give model.encoder_weights=auto"
            ) from error
        report("no ImageNet weights within reach: the encoder is trained from scratch")
        return build(False)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _hub_answers() -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(_endpoint(), method="HEAD"), timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        return True  # it answered, if only to refuse
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def _from_cache_only() -> Iterator[None]:
    constants: Any = require_perception("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
