"""Reads and checks image files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class ImageState:
    """What the check of a file found.

    Attributes:
        sha256: Digest of its bytes (of its size where it was not read), None if it is bad.
        problem: ``missing_file`` or ``broken_file``, None if it is good.
        detail: For a person.
    """

    sha256: str | None
    problem: str | None = None
    detail: str = ""


def read_rgb(path: Path) -> Image.Image:
    """Decodes a file to RGB, upright, on white where it is transparent.

    Raises:
        OSError: The file is missing, is no image, or is cut off.
        ValueError: Its pixels are too many or its content is broken.
    """
    return _decode(path.read_bytes())


def rgb_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels of an RGB image, uint8 (H, W, 3)."""
    return np.asarray(image, dtype=np.uint8)


def check_images(paths: Iterable[Path], *, decode: bool = True) -> dict[Path, ImageState]:
    """Checks files, each once.

    Args:
        paths: The files.
        decode: Decode each file and digest its bytes; otherwise only look at its size.
    """
    unique = list(dict.fromkeys(paths))
    check = _check_content if decode else _check_presence
    with ThreadPoolExecutor(max_workers=min(32, os.cpu_count() or 1)) as pool:
        return dict(zip(unique, pool.map(check, unique), strict=True))


def _check_presence(path: Path) -> ImageState:
    try:
        size = path.stat().st_size
    except OSError as error:
        return ImageState(None, "missing_file", f"{path}: {error.strerror or error}")
    if not path.is_file():
        return ImageState(None, "missing_file", f"{path} is not a file")
    return ImageState(f"size:{size}")


def _check_content(path: Path) -> ImageState:
    state = _check_presence(path)
    if state.problem:
        return state
    try:
        data = path.read_bytes()
        _decode(data)
    except Exception as error:  # a broken file makes Pillow raise almost anything
        return ImageState(None, "broken_file", f"{path}: {error or type(error).__name__}")
    return ImageState(hashlib.sha256(data).hexdigest())


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many")
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    return upright.convert("RGB")
