"""The gate: bytes that somebody sent -> the pixels to judge, or a refusal with its reason.

The order is the defence; nothing is done for a file before all above it has held:

1. at most 20 MB, not empty;
2. JPEG, PNG or WebP by content (never by name);
3. at most 25 megapixels and 50:1, at least 8 pixels a side, by the header;
4. exactly one frame;
5. a structure that is whole to its last byte (:mod:`edgesafe.runtime.containers`);
6. decoded by the one decoder of that format, from a stream that holds nothing but pixels;
7. turned upright by its EXIF orientation;
8. laid on black *and* on white where it is transparent: each is a view, the worse one counts;
9. 8-bit RGB.

Decisions. Colour profiles and gamma chunks are ignored (the models are trained on stored values).
CMYK is taken inverted, as Adobe and every browser do. 16-bit samples keep their high byte. Bytes
after the end of the picture do not keep it from being judged, but :attr:`Decoded.trailing` counts
them and nothing of edgesafe ever forwards them. A picture hidden at one certain shade of grey
between black and white backgrounds is not looked for.

No global of Pillow is changed, so the gate may run in any number of threads. It refuses to work
in a process where something else made Pillow forgiving (``LOAD_TRUNCATED_IMAGES``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from edgesafe.runtime import containers
from edgesafe.runtime.containers.base import MAX_ASPECT, MAX_PIXELS, MIN_SIDE, Refused, check_size

if TYPE_CHECKING:
    from edgesafe.runtime.containers import Container

__all__ = [
    "MAX_ASPECT",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "Decoded",
    "Refused",
    "decode_array",
    "decode_image",
    "decode_pil",
    "read_image_file",
]

MAX_BYTES = 20_000_000
"""Largest file that is read."""

RGB8 = NDArray[np.uint8]

# What a decoder may raise over a damaged picture. Anything else is a fault in the decoder or here:
# refused as well, under a code of its own, so that the fuzzer sees it.
_EXPECTED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    OverflowError,
    Image.DecompressionBombError,
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_OPAQUE_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})


@dataclass(frozen=True)
class Decoded:
    """A whole picture, upright.

    Attributes:
        views: one or two ``uint8`` arrays (height, width, 3), RGB: the picture, or a transparent
            picture on black and on white. All have to be judged; the worst verdict is the verdict.
        format: ``"JPEG"``, ``"PNG"``, ``"WEBP"``, or ``"ARRAY"`` / ``"PIL"`` for what the caller
            had decoded.
        size: (width, height) in pixels, upright.
        trailing: bytes after the end of the picture, which were not judged.
    """

    views: tuple[RGB8, ...]
    format: str
    size: tuple[int, int]
    trailing: int = 0


def read_image_file(path: str | os.PathLike[str]) -> bytes:
    """Read a regular file of at most 20 MB.

    Raises:
        Refused: ``missing``, ``unreadable``, ``not_a_file``, ``too_many_bytes``.
    """
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused("not_a_file", "a folder, pipe or device, not a regular file")
            if status.st_size > MAX_BYTES:
                raise _too_many_bytes(status.st_size)
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refused("missing", "there is no such file") from error
    except IsADirectoryError as error:
        raise Refused("not_a_file", "a folder, not a file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Refused("unreadable", getattr(error, "strerror", None) or str(error)) from error
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(len(data))
    return data


def decode_image(data: bytes) -> Decoded:
    """Decode one whole JPEG, PNG or WebP picture.

    Args:
        data: the file.

    Raises:
        Refused: every reason not to judge it; no other exception leaves.
    """
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(len(data))
    if not data:
        raise Refused("empty", "the file has no bytes")
    with _nothing_but_refused():
        container = containers.parse(bytes(data))
        _refuse_forgiving_decoder()
        image = _decode(container)
        if container.format == "JPEG":
            _refuse_filler(image, container)
        views = _views(_upright(image, container.orientation), container)
    height, width = views[0].shape[:2]
    return Decoded(views, container.format, (width, height), container.trailing)


def decode_array(rgb: NDArray[Any]) -> Decoded:
    """Take a frame that is decoded already: ``uint8`` (height, width, 3), RGB.

    Raises:
        Refused: another type or shape, or a size beyond the limits.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise Refused(
            "not_an_image", f"an array {rgb.dtype}{rgb.shape}; uint8 (height, width, 3) is judged"
        )
    height, width = rgb.shape[:2]
    check_size(width, height)
    return Decoded((np.ascontiguousarray(rgb),), "ARRAY", (width, height))


def decode_pil(image: Image.Image) -> Decoded:
    """Take a picture that the caller opened with Pillow; the caller vouches for its file.

    Raises:
        Refused: size, several frames, or a decoding error of a lazily opened file.
    """
    with _nothing_but_refused():
        check_size(*image.size)
        if getattr(image, "n_frames", 1) != 1:
            raise Refused("animated", "several frames; one frame is judged at a time")
        _refuse_forgiving_decoder()
        image.load()
        views = _views(_upright(image, int(image.getexif().get(_ORIENTATION_TAG, 1))), None)
    height, width = views[0].shape[:2]
    return Decoded(views, "PIL", (width, height))


@contextmanager
def _nothing_but_refused() -> Iterator[None]:
    """Turn whatever a decoder raises into `Refused`."""
    try:
        yield
    except Refused:
        raise
    except MemoryError as error:
        raise Refused("out_of_memory", "there is not enough memory to decode it") from error
    except _EXPECTED as error:
        raise _decode_error(error) from error
    except Exception as error:
        raise Refused("decoder_fault", f"{type(error).__name__}: {error}") from error


def _too_many_bytes(size: int) -> Refused:
    return Refused("too_many_bytes", f"{size} bytes; at most {MAX_BYTES} are read")


def _decode_error(error: Exception) -> Refused:
    code = "truncated" if "truncated" in str(error) else "decode_error"
    return Refused(code, f"the decoder says: {error}")


def _refuse_forgiving_decoder() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise Refused(
            "forgiving_decoder",
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process: a cut picture would be "
            "judged by its filling; unset it",
        )


def _open(stream: bytes, kind: str) -> Image.Image:
    if kind == "WEBP":
        # Image.open would import every plug-in of Pillow to find this one.
        from PIL import WebPImagePlugin  # noqa: F401
    image = Image.open(BytesIO(stream), formats=(kind,))
    image.load()
    return image


def _decode(container: Container) -> Image.Image:
    image = _open(container.stream, container.format)
    if image.size != (container.width, container.height):
        said = (container.width, container.height)
        raise Refused("malformed", f"the header says {said} pixels, the picture has {image.size}")
    if getattr(image, "n_frames", 1) != 1:
        raise Refused("animated", "several frames; one frame is judged at a time")
    return image


def _refuse_filler(image: Image.Image, container: Container) -> None:
    """Refuse a JPEG whose picture data ran out before its EOI.

    libjpeg fills what is missing with mid-grey and only warns, and Pillow drops the warning. So
    where the last pixel is that grey, decode once more with bytes added before the EOI: a whole
    picture does not change, a cut one uses them as picture data.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    if not {127, 128}.issuperset(last if isinstance(last, tuple) else (last,)):
        return
    longer = container.stream[:-2] + b"\x5a" * 64 + container.stream[-2:]
    if _open(longer, "JPEG").tobytes() != image.tobytes():
        raise Refused("truncated", "the picture data ends early")


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _views(image: Image.Image, container: Container | None) -> tuple[RGB8, ...]:
    """RGB on black and on white, or once where every pixel is opaque."""
    key = container.colour_key if container is not None else None
    if image.mode.startswith("I;16"):
        deep = np.asarray(image, dtype=np.uint16)
        alpha = Image.fromarray(_mask(deep != key[0])) if key else None
        colour = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    elif key is not None and container is not None:
        colour = image.convert("RGB")
        samples = np.asarray(colour)
        alpha = Image.fromarray(_mask((samples != _to_8_bits(key, container.bit_depth)).any(2)))
    elif image.has_transparency_data:
        full = image.convert("RGBA")
        colour, alpha = full.convert("RGB"), full.getchannel("A")
    elif image.mode in _OPAQUE_MODES:
        colour, alpha = image.convert("RGB"), None
    else:
        raise Refused("unsupported_format", f"pixels of the kind {image.mode!r}")
    if alpha is None or alpha.getextrema() == (255, 255):
        return (_array(colour),)
    return tuple(_array(_on(ground, colour, alpha)) for ground in ("black", "white"))


def _to_8_bits(key: tuple[int, ...], depth: int) -> RGB8:
    """The transparent colour as the decoder scales samples: low depths stretched, 16 cut."""
    scaled = [v >> 8 if depth == 16 else v * 255 // ((1 << depth) - 1) for v in key]
    return np.array((scaled * 3)[:3], dtype=np.int64).clip(0, 255).astype(np.uint8)


def _mask(opaque: NDArray[np.bool_]) -> RGB8:
    return opaque.astype(np.uint8) * np.uint8(255)


def _on(ground: str, colour: Image.Image, alpha: Image.Image) -> Image.Image:
    page = Image.new("RGB", colour.size, ground)
    page.paste(colour, mask=alpha)
    return page


def _array(image: Image.Image) -> RGB8:
    return np.array(image, dtype=np.uint8)
