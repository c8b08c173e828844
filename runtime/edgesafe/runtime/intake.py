"""From whatever the caller calls an image to the rows that the encoder reads."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.gate import (
    Decoded,
    Refused,
    decode_array,
    decode_image,
    decode_pil,
    read_image_file,
)
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.runtime.verdict import Timings

__all__ = ["ImageSource", "Prepared", "elapsed", "prepare_image", "prepare_item", "require_image"]

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]"
)
"""A path, the bytes of an image file, a PIL image, or an RGB array uint8 (H, W, 3)."""


@dataclass(frozen=True)
class Prepared:
    """An image on its way: float32 (views, 3, H, W), or why there is none."""

    pixels: npt.NDArray[np.float32] | None = field(repr=False)
    refused: Refused | None
    ms: Timings


def require_image(image: object) -> None:
    """Complain about what can never be an image.

    Raises:
        UsageError: ``image`` has none of the types of :data:`ImageSource`.
    """
    if not isinstance(
        image, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    ):
        raise UsageError(
            "an image is a path, the bytes of a file, a PIL image or a uint8 (H, W, 3) array, "
            f"not {type(image).__name__}"
        )


def prepare_item(item: object, preprocess: Preprocess) -> Prepared:
    """Prepare one item of a stream, where a wrong type is a bad item and not a wrong call."""
    try:
        require_image(item)
    except UsageError as error:
        return Prepared(None, Refused("wrong_type", str(error)), Timings())
    return prepare_image(item, preprocess)


def prepare_image(image: Any, preprocess: Preprocess) -> Prepared:
    """Decode and preprocess one image; whatever goes wrong ends as a refusal."""
    started = decoded_at = time.perf_counter()
    try:
        decoded = _decode(image)
        decoded_at = time.perf_counter()
        pixels = np.stack([preprocess(view) for view in decoded.views])
        ms = Timings(decode=elapsed(started, decoded_at), preprocess=elapsed(decoded_at))
        return Prepared(pixels, None, ms)
    except Refused as error:
        # A new one: the traceback of the old one holds the pixels.
        refused = Refused(error.code, error.detail)
    except MemoryError:
        refused = Refused("out_of_memory", "memory ran out while the image was decoded")
    except Exception as error:
        refused = Refused("decode_failed", f"{type(error).__name__}: {error}")
    return Prepared(None, refused, Timings(decode=elapsed(started)))


def _decode(image: Any) -> Decoded:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image))
    if isinstance(image, Image.Image):
        return decode_pil(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise Refused(
                "bad_array", f"{image.dtype} {image.shape}; an RGB image is uint8 (H, W, 3)"
            )
        return decode_array(image)
    return decode_image(read_image_file(image))


def elapsed(since: float, until: float | None = None) -> float:
    """Return the milliseconds since a reading of ``time.perf_counter``."""
    return ((time.perf_counter() if until is None else until) - since) * 1e3
