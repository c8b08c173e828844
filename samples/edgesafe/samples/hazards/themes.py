"""Photos out of website themes on npm, as many more scenes to put hazards into.

``theme_photos.json`` names the packages, their versions and the photos in them that show no
hazard, with a caption each; both were written by looking at the pictures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.samples.hazards import art_files

Pack = Callable[[str, Path], Path]
"""``(package@version, folder) -> archive``: downloads one npm package."""
_LONG_SIDE = 1280


def listing() -> dict[str, dict[str, Any]]:
    """Return ``{package: {"version": str, "photos": {path in the package: caption}}}``."""
    text = resources.files(__package__).joinpath("theme_photos.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def flat_name(package: str, path: str) -> str:
    """Return the file name of a photo in one folder for all packages; its split hangs on it."""
    stem = path.rsplit(".", 1)[0]
    return "-".join((package.lstrip("@") + "/" + stem).split("/")) + ".jpg"


def _unpack(archive: Path, package: str, wanted: dict[str, str], out: Path) -> Iterator[str]:
    with art_files.opened(archive) as read:
        for path, caption in wanted.items():
            try:
                data = read(f"package/{path}")
            except KeyError as error:
                raise DataError(f"{package}: {path} is not in the package.") from error
            name = flat_name(package, path)
            with Image.open(io.BytesIO(data)) as image:
                image.thumbnail((_LONG_SIDE, _LONG_SIDE))
                image.convert("RGB").save(out / name, quality=92)
            yield json.dumps({"image": name, "captions": [caption]})


def fetch(out: Path, pack: Pack) -> None:
    """Fetch all listed photos into ``out``, with their ``photos.jsonl``.

    Args:
        out: the folder.
        pack: downloads one package.

    Raises:
        DataError: a package does not hold a listed photo.
    """
    if (out / "photos.jsonl").is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for package, entry in listing().items():
        archive = pack(f"{package}@{entry['version']}", out)
        lines += _unpack(archive, package, entry["photos"], out)
        archive.unlink()
    # Last: its presence says that the folder is whole.
    atomic_write(out / "photos.jsonl", "".join(line + "\n" for line in lines).encode())
