"""The parts of a manifest: what each holds, and how each is read from checked JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.preprocess import Preprocess

__all__ = [
    "Bounds",
    "FileEntry",
    "Geometry",
    "ImageEncoder",
    "Parity",
    "Rate",
    "TextEncoder",
    "Threshold",
    "Weights",
]

CLASSES = ("safe_text", "safe_image", "unsafe_text", "unsafe_image")
MANIFEST = "manifest.json"

# One file is one protobuf message, and those end at 2 GiB.
MAX_FILE_BYTES = 2**31 - 1
MAX_FILES = 64

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_FAR = 1e3  # no root distance, nor its threshold, is ever this large

_T = TypeVar("_T")


@dataclass(frozen=True)
class FileEntry:
    """Digest and size in bytes of one file of the package."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Geometry:
    """The Lorentz model of the embeddings: curvature c > 0, dimension, cone radius K."""

    curvature: float
    dim: int
    min_radius: float


@dataclass(frozen=True)
class ImageEncoder:
    """``file`` maps ``input``, float32 (batch, 3, H, W), to embedding and root distance."""

    file: str
    input: str
    outputs: tuple[str, str]
    opset: int
    precision: str
    storage: str
    preprocess: Preprocess


@dataclass(frozen=True)
class TextEncoder:
    """``file`` maps ``inputs``, ids and mask as int64 (batch, tokens), to the same outputs."""

    file: str
    inputs: tuple[str, str]
    outputs: tuple[str, str]
    opset: int
    precision: str
    storage: str
    tokenizer: str
    max_tokens: int
    pad_id: int
    fixed_length: bool


@dataclass(frozen=True)
class Rate:
    """A share of ``n`` cases, in 0..1, with its confidence interval."""

    value: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True)
class Threshold:
    """The largest root distance that is still safe, and how it was found.

    Attributes:
        value: The threshold itself.
        interval: Its confidence interval.
        confidence: Of all the intervals here, e.g. 0.95.
        n: Cases that it was chosen on.
        fpr: Share of safe cases that it flags; None where it was not measured.
        miss_rate: Share of unsafe cases that it lets pass; None where it was not measured.
        rule: How it was chosen, for a person.
        data_sha256: Digest of the scores and labels that it was chosen on.
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    n: int
    fpr: Rate | None
    miss_rate: Rate | None
    rule: str
    data_sha256: str


@dataclass(frozen=True)
class Bounds:
    """Root distances of one class on the training data: mean and the 5 % and 95 % quantiles."""

    avg: float
    low_05: float
    up_95: float


@dataclass(frozen=True)
class Parity:
    """Largest relative error of the exported encoder against float64, over ``n`` inputs."""

    max_relative_error: float
    n: int


@dataclass(frozen=True)
class Weights:
    """Where the weights come from and on which terms they may be used."""

    licence: str
    origin: tuple[str, ...]
    notice: str


def check_file_name(name: str, where: str) -> str:
    """Return ``name`` if it is a plain file name: no folder, no drive, no leading dot.

    Raises:
        PackageError: It is not, or it is ``manifest.json``.
    """
    if not FILE_NAME.fullmatch(name) or name == MANIFEST:
        raise PackageError(f"{where}: {name!r:.120} is not a name that a package file may have")
    return name


def read_files(fields: Fields) -> dict[str, FileEntry]:
    if not 1 <= len(fields.value) <= MAX_FILES:
        raise PackageError(f"{fields.where} must name 1 to {MAX_FILES} files")
    found = {}
    for name in fields.value:
        check_file_name(name, fields.where)
        entry = fields.fields(name)
        entry.only("sha256", "size")
        found[name] = FileEntry(_hex64(entry, "sha256"), entry.integer("size", 0, MAX_FILE_BYTES))
    return found


def read_geometry(fields: Fields) -> Geometry:
    fields.only("model", "curvature", "dim", "min_radius")
    fields.one_of("model", "lorentz")
    return Geometry(
        curvature=fields.number("curvature", 1e-3, 1e3),
        dim=fields.integer("dim", 1, 65536),
        min_radius=fields.number("min_radius", 1e-6, 1.0),
    )


def read_image(fields: Fields) -> ImageEncoder:
    fields.only("file", "input", "outputs", "opset", "precision", "storage", "preprocess")
    return ImageEncoder(
        file=fields.text("file"),
        input=fields.text("input"),
        outputs=_pair(fields, "outputs"),
        opset=fields.integer("opset", 1, 1000),
        precision=fields.text("precision"),
        storage=fields.text("storage"),
        preprocess=read_preprocess(fields.fields("preprocess")),
    )


def read_preprocess(fields: Fields) -> Preprocess:
    try:
        return Preprocess.from_dict(fields.value)
    except ValueError as error:
        raise PackageError(f"{fields.where}: {error}") from None


def read_text(fields: Fields) -> TextEncoder:
    fields.only(
        "file", "inputs", "outputs", "opset", "precision", "storage", "tokenizer", "max_tokens",
        "pad_id", "fixed_length",
    )  # fmt: skip
    return TextEncoder(
        file=fields.text("file"),
        inputs=_pair(fields, "inputs"),
        outputs=_pair(fields, "outputs"),
        opset=fields.integer("opset", 1, 1000),
        precision=fields.text("precision"),
        storage=fields.text("storage"),
        tokenizer=fields.text("tokenizer"),
        max_tokens=fields.integer("max_tokens", 4, 65536),
        pad_id=fields.integer("pad_id", 0, 2**31 - 1),
        fixed_length=fields.flag("fixed_length"),
    )


def read_threshold(fields: Fields) -> Threshold:
    fields.only("value", "interval", "confidence", "n", "fpr", "miss_rate", "rule", "data_sha256")
    return Threshold(
        value=fields.number("value", 0.0, _FAR),
        interval=fields.interval("interval", 0.0, _FAR),
        confidence=fields.number("confidence", 0.5, 1.0),
        n=fields.integer("n", 1, 2**53),
        fpr=read_rate(fields.fields("fpr")) if "fpr" in fields else None,
        miss_rate=read_rate(fields.fields("miss_rate")) if "miss_rate" in fields else None,
        rule=fields.text("rule"),
        data_sha256=_hex64(fields, "data_sha256"),
    )


def read_rate(fields: Fields) -> Rate:
    fields.only("value", "interval", "n")
    return Rate(
        value=fields.number("value", 0.0, 1.0),
        interval=fields.interval("interval", 0.0, 1.0),
        n=fields.integer("n", 1, 2**53),
    )


def read_bounds(fields: Fields) -> dict[str, Bounds]:
    fields.only(*CLASSES)
    found = {}
    for name in fields.value:
        entry = fields.fields(name)
        entry.only("avg", "low_05", "up_95")
        low, high = (entry.number(key, 0.0, _FAR) for key in ("low_05", "up_95"))
        if low > high:
            raise entry.fail("low_05", f"is above up_95 ({low} > {high})")
        found[name] = Bounds(avg=entry.number("avg", 0.0, _FAR), low_05=low, up_95=high)
    return found


def read_parity(fields: Fields) -> Parity:
    fields.only("max_relative_error", "n")
    return Parity(
        max_relative_error=fields.number("max_relative_error", 0.0, 1.0),
        n=fields.integer("n", 1, 2**53),
    )


def read_weights(fields: Fields) -> Weights:
    fields.only("licence", "origin", "notice")
    return Weights(
        licence=fields.text("licence"),
        origin=fields.texts("origin"),
        notice=fields.text("notice", empty=True),
    )


def read_per_modality(fields: Fields, read: Callable[[Fields], _T]) -> dict[str, _T]:
    fields.only("image", "text")
    return {name: read(fields.fields(name)) for name in fields.value}


def read_one_file(fields: Fields) -> str:
    fields.only("file")
    return fields.text("file")


def _pair(fields: Fields, name: str) -> tuple[str, str]:
    values = fields.texts(name)
    if len(values) != 2 or values[0] == values[1]:
        raise fields.fail(name, f"must be two different names, not {list(values)}")
    return values[0], values[1]


def _hex64(fields: Fields, name: str) -> str:
    value = fields.text(name)
    if not _HEX64.fullmatch(value):
        raise fields.fail(name, "must be 64 lower-case hexadecimal digits")
    return value
