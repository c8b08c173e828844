"""Lists of frames: the usual 15 % split of LINEMOD and the like."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from edgesafe.calib.bop.dataset import FrameId
from edgesafe.calib.bop.scene import PICTURE_SUFFIXES
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.pose.bop_csv import image_of_path

__all__ = ["read_split"]

# Scenes of LINEMOD by the names that its lists go by.
_LINEMOD = {
    "ape": 1,
    "benchvise": 2,
    "cam": 4,
    "can": 5,
    "cat": 6,
    "driller": 8,
    "duck": 9,
    "eggbox": 10,
    "glue": 11,
    "holepuncher": 12,
    "iron": 13,
    "lamp": 14,
    "phone": 15,
}


def read_split(path: str | os.PathLike[str]) -> list[FrameId]:
    """Read which frames belong to a split.

    A line is the number of a picture (``17``), a scene and a picture (``2/17``), or the path of a
    picture: of ``.../000002/rgb/000017.png`` scene and number count, of any other path
    (``LINEMOD/cat/JPEGImages/000017.jpg``) the number. Empty lines and ``#`` are skipped.

    Args:
        path: Such a list; or a folder of lists, each named by its scene (``000006.txt``) or, of
            LINEMOD, by its object (``cat.txt``), whose numbers are of that scene alone.

    Returns:
        Numbers of pictures in any scene, or pairs (scene, picture).

    Raises:
        DataError: A list cannot be read, is empty, or has a line that is none of these.
    """
    folder = Path(path)
    if not folder.is_dir():
        return _read_list(folder)
    found: list[FrameId] = []
    for file in sorted(folder.glob("*.txt")):
        scene = int(file.stem) if file.stem.isdecimal() else _LINEMOD.get(file.stem)
        if scene is None:
            raise DataError(
                f"{file}: a list in a folder must have the name of a scene (000006.txt) or of an "
                "object of LINEMOD (cat.txt)"
            )
        found += [(scene, one) if isinstance(one, int) else one for one in _read_list(file)]
    if not found:
        raise DataError(f"{folder} has no lists *.txt")
    return found


def _read_list(path: Path) -> list[FrameId]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text file: it must have one frame per line") from None
    found: list[FrameId] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip().replace("\\", "/")
        if text:
            found.append(_frame(text, f"{path}, line {number}"))
    if not found:
        raise DataError(f"{path} names no frame")
    return found


def _frame(text: str, where: str) -> FrameId:
    if pair := image_of_path(PurePosixPath(text)):
        return pair
    parts = PurePosixPath(text).parts
    if len(parts) == 2 and all(part.isdecimal() for part in parts):
        return int(parts[0]), int(parts[1])
    stem, suffix = PurePosixPath(text).stem, PurePosixPath(text).suffix.lower()
    if not stem.isdecimal() or suffix not in ("", *PICTURE_SUFFIXES):
        raise DataError(f"{where}: {text!r:.80} is neither a number nor the path of a picture")
    return int(stem)
