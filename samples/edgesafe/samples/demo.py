"""``edgesafe demo``: judge sample photos, texts and bad inputs, estimate poses, write a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.runtime.errors import DataError, SourceError
from edgesafe.samples.pose_demo import demo_poses, summarise_poses
from edgesafe.samples.report import Item, Report, agreement, count, render

if TYPE_CHECKING:
    from edgesafe.runtime import Moderator

__all__ = ["Photo", "demo", "read_photos"]

REPORT_NAME = "report.html"
_PICTURE_SIDE = 480

_TEXTS = (
    ("a cup of coffee and a croissant on a wooden table", "safe"),
    ("children playing football in the park", "safe"),
    ("a plate of chips with a bottle of ketchup", "safe"),
    ("a man points a gun at the cashier", "unsafe"),
    ("flames and thick smoke rise from a burning house", "unsafe"),
    ("a pool of blood on the kitchen floor", "unsafe"),
    ("a syringe and a bag of white powder on the table", "unsafe"),
    ("", None),
)


@dataclass(frozen=True)
class Photo:
    """One line of ``photos.jsonl``."""

    path: Path
    caption: str
    label: str | None
    credit: str
    source: str


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("edgesafe-report"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model package. [default: the one that comes with edgesafe]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with photos.jsonl. [default: the sample photos]",
)
@click.option(
    "--pose-model",
    type=click.Path(path_type=Path),
    help="Pose package. [default: the one that comes with edgesafe, if there is one]",
)
@click.option(
    "--pose-data",
    type=click.Path(path_type=Path),
    help="BOP data set of a few frames. [default: the sample frames]",
)
def demo(
    out: Path,
    model: Path | None,
    data: Path | None,
    pose_model: Path | None,
    pose_data: Path | None,
) -> None:
    """Judge the sample photos, estimate the poses in the sample frames, write an HTML report.

    Prints tables; the last line is the path of the report.
    """
    from edgesafe.calib.machine import machine_facts
    from edgesafe.calib.measure import sample_photos
    from edgesafe.runtime import Moderator
    from edgesafe.runtime.files import atomic_write

    photos = read_photos(data or sample_photos().parent)
    # Not "auto": its trial of backends takes longer than the demo.
    moderator = Moderator.load(model, backend="cpu")
    manifest = moderator.manifest
    # Opening a model belongs to no photo: keep it out of the times shown.
    moderator.prepare("image")
    report = Report(
        manifest=manifest,
        photos=_judge("photos", _judge_photos(moderator, photos)),
        texts=_judge("texts", _judge_texts(moderator)) if manifest.text else (),
        bad=_judge("bad inputs", _judge_bad(moderator, photos[0].path.read_bytes())),
        poses=demo_poses(pose_model, pose_data),
        machine=machine_facts(),
        created=datetime.now(timezone.utc).strftime("%d %B %Y, %H:%M UTC"),
    )
    _summarise(report)
    out.mkdir(parents=True, exist_ok=True)
    path = out.resolve() / REPORT_NAME
    atomic_write(path, render(report).encode("utf-8"))
    click.echo(str(path))


def read_photos(folder: Path) -> list[Photo]:
    """Read ``photos.jsonl`` of a folder and check that its pictures are there.

    Raises:
        SourceError: The list is missing or names a picture that is not there.
        DataError: A line is not an object with ``image`` and ``caption``, or there is none.
    """
    listing = folder / "photos.jsonl"
    if not listing.is_file():
        raise SourceError(f"{listing} is missing: name a folder that has one with --data")
    photos = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            photos.append(_photo(folder, json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{listing}, line {number}: needs an object with image and caption ({error!r})"
            ) from error
    if not photos:
        raise DataError(f"{listing} lists no photo")
    missing = [photo.path for photo in photos if not photo.path.is_file()]
    if missing:
        raise SourceError(f"{listing} names {missing[0]}, which is not there")
    return photos


def _photo(folder: Path, line: dict[str, Any]) -> Photo:
    name = str(line["image"])
    # Listed by bare name, or with the folder that the photos are in.
    path = folder / name if (folder / name).is_file() else folder / "photos" / name
    credit = ", ".join(str(line[key]) for key in ("author", "licence") if line.get(key))
    return Photo(
        path=path,
        caption=str(line["caption"]),
        label=line.get("label"),
        credit=credit,
        source=str(line.get("source") or ""),
    )


def _judge(title: str, items: Iterator[Item]) -> Sequence[Item]:
    """Print each item as it is judged."""
    from edgesafe.runtime.output import Table

    click.echo(f"{title}:")
    table = Table(sys.stdout)
    judged = []
    for item in items:
        table.write(item.name or f'"{item.title}"', None, item.verdict)
        judged.append(item)
    click.echo()
    return judged


def _judge_photos(moderator: Moderator, photos: Sequence[Photo]) -> Iterator[Item]:
    for photo in photos:
        data = photo.path.read_bytes()
        yield Item(
            title=photo.caption,
            verdict=moderator.check(data),
            name=photo.path.name,
            picture=_picture(data),
            label=photo.label,
            credit=photo.credit,
            source=photo.source,
        )


def _judge_texts(moderator: Moderator) -> Iterator[Item]:
    moderator.prepare("text")
    for text, label in _TEXTS:
        item = Item(title=text, verdict=moderator.check_text(text), label=label)
        yield item if text else replace(item, title="(an empty text)")


def _judge_bad(moderator: Moderator, photo: bytes) -> Iterator[Item]:
    for name, title, make in _BAD:
        yield Item(title=title, verdict=moderator.check(make(photo)), name=name)


def _truncated_jpeg(photo: bytes) -> bytes:
    jpeg = _encode(photo, "JPEG")
    return jpeg[: len(jpeg) // 2]


def _png_without_end(photo: bytes) -> bytes:
    return _encode(photo, "PNG")[:-12]  # the IEND chunk; some decoders forgive this


def _animated(photo: bytes) -> bytes:
    from PIL import Image

    first = Image.new("RGB", (160, 120), "white")
    second = Image.open(BytesIO(_encode(photo, "PNG"))).resize(first.size)
    buffer = BytesIO()
    first.save(buffer, "WEBP", save_all=True, append_images=[second], duration=500)
    return buffer.getvalue()


def _bomb(photo: bytes) -> bytes:
    """Return a PNG whose header claims 30,000 x 30,000 pixels."""
    import struct
    import zlib

    png = _encode(photo, "PNG")
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


_BAD: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    ("half.jpg", "A JPEG cut off in the middle", _truncated_jpeg),
    ("no-end.png", "A PNG that lacks its last chunk", _png_without_end),
    ("animated.webp", "An animation whose first frame is blank", _animated),
    ("huge.png", "A small file that claims 900 megapixels", _bomb),
    ("notes.jpg", "A text file named .jpg", lambda photo: b"This is not a picture.\n"),
    ("empty.jpg", "A file of no bytes", lambda photo: b""),
)


def _encode(photo: bytes, kind: str) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    with Image.open(BytesIO(photo)) as image:
        image.convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def _picture(data: bytes) -> bytes | None:
    """Return a small JPEG of what was judged; None where the gate refuses it."""
    from PIL import Image

    from edgesafe.runtime.gate import Refused, decode_image

    try:
        view = decode_image(data).views[-1]
    except Refused:
        return None
    image = Image.fromarray(view)
    image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _summarise(report: Report) -> None:
    for name, items in (("photos", report.photos), ("texts", report.texts)):
        totals = ", ".join(f"{number} {decision}" for decision, number in count(items).items())
        agreed = agreement(items)
        click.echo(f"{len(items)} {name}: {totals}" + (f" ({agreed})" if agreed else ""))
    for limit in report.manifest.limits:
        click.echo(f"limit: {limit}")
    if report.poses is not None:
        summarise_poses(report.poses)
    click.echo("report:")
