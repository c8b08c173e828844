"""What training reads of the frames, made once: small pieces that decode in half a millisecond.

A folder with ``pieces.bin`` (JPEG files and packed masks one after another) and ``index.npz``.
For the network of a region of interest there is a piece for each instance: the part of the frame
that any region drawn for it can reach, at the resolution that the region is cut out of, so that a
region of a piece has the very pixels of the same region of the frame, but for the JPEG. For the
detector there is one for each frame, no finer than its closest look needs.

The folder's name is a digest of the data and of everything that decides about the pieces, so a
cache may be shared by runs, and a stale one is never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_folder
from edgesafe.train.pose.dataset import PoseData, PoseFrame, read_mask

__all__ = ["Piece", "Pieces", "frame_pieces", "region_pieces"]

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

FORMAT = 1
_QUALITY = 95
_PIECES, _INDEX = "pieces.bin", "index.npz"


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a frame.

    Attributes:
        bgr: (H, W, 3).
        visible: (H, W), 255 where the instance is visible; of a frame, as ``kept``.
        kept: (H, W), 255 where any annotated object is.
    """

    bgr: Pixels
    visible: Pixels
    kept: Pixels


class Pieces:
    """The pieces of a data set.

    Attributes:
        table: Arrays with a row for each piece. ``x``, ``y`` and ``block`` say where it comes
            from: its pixel (i, j) is the mean of the square of ``block`` frame pixels whose first
            one is (x + block * i, y + block * j). The others are the caller's.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the files.

        Raises:
            DataError: The folder is not a sound cache.
        """
        try:
            with np.load(folder / _INDEX, allow_pickle=False) as found:
                self.table = {name: found[name] for name in found.files}
            self._bytes = np.memmap(folder / _PIECES, dtype=np.uint8, mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} is broken ({error}); remove it.") from error

    def __len__(self) -> int:
        """How many there are."""
        return len(self.table["offset"])

    def read(self, row: int) -> Piece:
        """Decodes a piece."""
        table = self.table
        at, size = int(table["offset"][row]), int(table["bytes"][row])
        height, width = int(table["height"][row]), int(table["width"][row])
        bgr = cv2.imdecode(np.asarray(self._bytes[at : at + size]), cv2.IMREAD_COLOR)
        packed = -(-height * width // 8)
        masks = []
        for start in (at + size, at + size + packed):
            bits = np.unpackbits(self._bytes[start : start + packed], count=height * width)
            masks.append((bits * np.uint8(255)).reshape(height, width))
        return Piece(np.asarray(bgr, dtype=np.uint8), masks[0], masks[1])


def region_pieces(
    data: PoseData, cache: Path, *, reach: float, nominal: float, tell: Callable[[int], None]
) -> Pieces:
    """Opens the pieces of all instances, and makes them first where they are not there.

    Args:
        data: The data.
        cache: Folder of caches.
        reach: Side of the square of a piece over the longer side of the instance's box.
        nominal: Longer side of the box, in pixels of the network's input, of a region that is
            drawn as small as it gets; a piece is not finer than this needs.
        tell: Called with 1 after each frame.

    Raises:
        DataError: A picture or a mask is missing or broken.
    """

    def make(frame: PoseFrame, writer: _Writer) -> None:
        bgr, visible, kept = _read_frame(frame)
        height, width = kept.shape
        for instance, mask in zip(frame.instances, visible, strict=True):
            x, y, w, h = instance.box
            side = max(w, h)
            block = max(1, int(side / nominal))
            half = reach * side / 2 + 2 * block
            u, v = x + w / 2, y + h / 2
            left, top = max(0, int(u - half)), max(0, int(v - half))
            right, bottom = min(width, int(u + half) + 1), min(height, int(v + half) + 1)
            part = (slice(top, bottom), slice(left, right))
            writer.add(
                _shrunk(bgr[part], block),
                _shrunk(mask[part].astype(np.uint8) * 255, block) > 127,
                _shrunk(kept[part].astype(np.uint8) * 255, block) > 127,
                x=left,
                y=top,
                block=block,
                object_id=instance.object_id,
                K=frame.K,
                R=instance.R,
                t=instance.t,
                box=np.asarray(instance.box),
                frame_size=np.array([width, height]),
            )

    key = {"kind": "regions", "reach": round(reach, 6), "nominal": round(nominal, 6)}
    return _open_or_make(data, cache, key, make, tell)


def frame_pieces(
    data: PoseData, cache: Path, *, width: int, height: int, tell: Callable[[int], None]
) -> Pieces:
    """Opens the pieces of all frames, shrunk by a whole number but not below a given size.

    The boxes of a frame are rows of a padded array: ``boxes`` (n, M, 4), ``ids`` (n, M), -1 where
    there is none.

    Raises:
        DataError: A picture or a mask is missing or broken.
    """
    most = max(len(frame.instances) for frame in data.frames)

    def make(frame: PoseFrame, writer: _Writer) -> None:
        bgr, _, kept = _read_frame(frame)
        rows, columns = kept.shape
        block = max(1, int(min(columns / width, rows / height)))
        boxes, ids = np.zeros((most, 4)), np.full(most, -1)
        for i, instance in enumerate(frame.instances):
            boxes[i], ids[i] = instance.box, instance.object_id
        shrunk = _shrunk(kept.astype(np.uint8) * 255, block) > 127
        writer.add(
            _shrunk(bgr, block),
            shrunk,
            shrunk,
            x=0,
            y=0,
            block=block,
            boxes=boxes,
            ids=ids,
            frame_size=np.array([columns, rows]),
        )

    key = {"kind": "frames", "width": width, "height": height}
    return _open_or_make(data, cache, key, make, tell)


class _Writer:
    """Appends pieces to a file and collects their table."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.offset = 0
        self.rows: list[dict[str, Any]] = []

    def add(self, bgr: Pixels, visible: Any, kept: Any, **row: Any) -> None:
        # Full colour resolution: the default of JPEG halves it.
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        _, code = cv2.imencode(".jpg", bgr, options)
        data = code.tobytes() + np.packbits(visible).tobytes() + np.packbits(kept).tobytes()
        self.stream.write(data)
        height, width = bgr.shape[:2]
        place = {"offset": self.offset, "bytes": len(code), "height": height, "width": width}
        self.rows.append({**place, **row})
        self.offset += len(data)

    def table(self) -> dict[str, npt.NDArray[Any]]:
        return {name: np.stack([np.asarray(r[name]) for r in self.rows]) for name in self.rows[0]}


def _open_or_make(
    data: PoseData,
    cache: Path,
    key: dict[str, Any],
    make: Callable[[PoseFrame, _Writer], None],
    tell: Callable[[int], None],
) -> Pieces:
    ids = [known.id for known in data.objects]
    text = json.dumps({**key, "format": FORMAT, "data": data.fingerprint, "objects": ids})
    folder = cache / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not (folder / _INDEX).is_file():
        try:
            with atomic_folder(folder, overwrite=True) as temporary:
                with open(temporary / _PIECES, "wb") as stream:
                    writer = _Writer(stream)
                    for frame in data.frames:
                        make(frame, writer)
                        tell(1)
                _save(temporary / _INDEX, writer.table())
        except OSError as error:
            raise DataError(
                f"{folder}: the cache cannot be written ({error.strerror or error}). Choose a "
                "folder on a disk with room with --cache."
            ) from error
    return Pieces(folder)


def _read_frame(
    frame: PoseFrame,
) -> tuple[Pixels, list[npt.NDArray[np.bool_]], npt.NDArray[np.bool_]]:
    """The picture, the visible mask of each instance, and their union with the others."""
    bgr = cv2.imread(str(frame.rgb), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"{frame.rgb} is missing or is no picture.")
    shape = bgr.shape[:2]
    visible = [read_mask(instance.mask, shape) for instance in frame.instances]
    kept = np.zeros(shape, dtype=bool)
    for mask in (*visible, *(read_mask(path, shape) for path in frame.others)):
        kept |= mask
    return np.asarray(bgr, dtype=np.uint8), visible, kept


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


def _shrunk(picture: Any, block: int) -> Any:
    """Means over blocks; what is left over at the right and the bottom is dropped."""
    if block == 1:
        return picture
    height, width = (max(1, n // block) for n in picture.shape[:2])
    whole = picture[: height * block, : width * block]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
