"""The parts of a manifest: what each holds, and how each is read from checked JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.runtime.thresholds import FAR as _FAR
from edgesafe.runtime.thresholds import Rate, Threshold, read_threshold

__all__ = [
    "Bounds",
    "Calibration",
    "FileEntry",
    "Geometry",
    "ImageEncoder",
    "Label",
    "Parity",
    "Rate",
    "TextEncoder",
    "Threshold",
    "Weights",
    "read_threshold",
]

CLASSES = ("safe_text", "safe_image", "unsafe_text", "unsafe_image")
MANIFEST = "manifest.json"
PRECISIONS = ("fp32", "fp16", "int8")

# One file is one protobuf message, and those end at 2 GiB.
MAX_FILE_BYTES = 2**31 - 1
MAX_FILES = 1024

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
METHODS = ("hysac", "safeclip", "classifier")
ACTIVATIONS = ("softmax", "sigmoid", "none")
_MAX_LABELS = 1000

_T = TypeVar("_T")


@dataclass(frozen=True)
class FileEntry:
    """Digest and size in bytes of one file of the package."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Geometry:
    """The space of the embeddings.

    Attributes:
        curvature: c > 0 of the Lorentz model; 0 for flat space, its limit.
        dim: Numbers of an embedding.
        min_radius: K of the half aperture; 0 for flat space, which has no cones.
        model: ``"lorentz"`` or ``"euclidean"``.
    """

    curvature: float
    dim: int
    min_radius: float
    model: str = "lorentz"


@dataclass(frozen=True)
class ImageEncoder:
    """``file`` maps ``input``, float32 (batch, 3, H, W), to ``outputs``.

    Attributes:
        file: The ONNX model.
        input: Name of its input.
        outputs: Names: embedding and root distance (hysac), embedding (safeclip), scores of the
            labels (classifier).
        opset: Version of the standard ONNX operators.
        precision: What is computed in.
        storage: How the weights are stored.
        preprocess: From a photo to the input, channels first, red first.
        layout: ``"nchw"``, or ``"nhwc"`` for a model that wants (batch, H, W, 3).
        channels: ``"rgb"``, or ``"bgr"`` for a model that wants blue first.
    """

    file: str
    input: str
    outputs: tuple[str, ...]
    opset: int
    precision: str
    storage: str
    preprocess: Preprocess
    layout: str = "nchw"
    channels: str = "rgb"


@dataclass(frozen=True)
class TextEncoder:
    """``file`` maps ``inputs``, ids and mask as int64 (batch, tokens), to the same outputs."""

    file: str
    inputs: tuple[str, str]
    outputs: tuple[str, ...]
    opset: int
    precision: str
    storage: str
    tokenizer: str
    max_tokens: int
    pad_id: int
    fixed_length: bool


@dataclass(frozen=True)
class Label:
    """One class of a classifier, and whether it counts as unsafe."""

    name: str
    unsafe: bool


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
class Calibration:
    """How a graph was quantised.

    Attributes:
        method: That chose the ranges.
        data_sha256: Of the calibration inputs.
        onnx_sha256: Of the float32 graph that they were run through.
        n: Calibration inputs.
        keep: Share of the multiplications that might stay in float32; None where it is not told.
    """

    method: str
    data_sha256: str
    onnx_sha256: str
    n: int
    keep: float | None = None


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
        found[name] = FileEntry(entry.hex64("sha256"), entry.integer("size", 0, MAX_FILE_BYTES))
    return found


def read_geometry(fields: Fields) -> Geometry:
    model = fields.one_of("model", "lorentz", "euclidean")
    if model == "euclidean":
        fields.only("model", "dim")
        return Geometry(0.0, fields.integer("dim", 1, 65536), 0.0, model)
    fields.only("model", "curvature", "dim", "min_radius")
    return Geometry(
        curvature=fields.number("curvature", 1e-3, 1e3),
        dim=fields.integer("dim", 1, 65536),
        min_radius=fields.number("min_radius", 1e-6, 1.0),
    )


def read_labels(fields: Fields) -> tuple[Label, ...]:
    items = fields.items("labels")
    found = []
    for index, item in enumerate(items):
        entry = Fields(item, f"{fields.where}: labels[{index}]")
        entry.only("name", "unsafe")
        found.append(Label(entry.text("name"), entry.flag("unsafe")))
    if not 1 <= len(found) <= _MAX_LABELS or len({label.name for label in found}) != len(found):
        raise fields.fail("labels", f"must be 1 to {_MAX_LABELS} labels of different names")
    if not any(label.unsafe for label in found):
        raise fields.fail("labels", "has none that is unsafe: nothing would ever be")
    return tuple(found)


def read_image(fields: Fields, outputs: int = 2) -> ImageEncoder:
    fields.only(*ImageEncoder.__dataclass_fields__)
    return ImageEncoder(
        file=fields.text("file"),
        input=fields.text("input"),
        outputs=_names(fields, "outputs", outputs),
        opset=fields.integer("opset", 1, 1000),
        precision=read_precision(fields),
        storage=fields.text("storage"),
        preprocess=read_preprocess(fields.fields("preprocess")),
        layout=fields.one_of("layout", "nchw", "nhwc") if "layout" in fields else "nchw",
        channels=fields.one_of("channels", "rgb", "bgr") if "channels" in fields else "rgb",
    )


def read_preprocess(fields: Fields) -> Preprocess:
    try:
        return Preprocess.from_dict(fields.value)
    except ValueError as error:
        raise PackageError(f"{fields.where}: {error}") from None


def read_text(fields: Fields, outputs: int = 2) -> TextEncoder:
    fields.only(
        "file", "inputs", "outputs", "opset", "precision", "storage", "tokenizer", "max_tokens",
        "pad_id", "fixed_length",
    )  # fmt: skip
    return TextEncoder(
        file=fields.text("file"),
        inputs=_pair(fields, "inputs"),
        outputs=_names(fields, "outputs", outputs),
        opset=fields.integer("opset", 1, 1000),
        precision=read_precision(fields),
        storage=fields.text("storage"),
        tokenizer=fields.text("tokenizer"),
        max_tokens=fields.integer("max_tokens", 4, 65536),
        pad_id=fields.integer("pad_id", 0, 2**31 - 1),
        fixed_length=fields.flag("fixed_length"),
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


def read_precision(fields: Fields) -> str:
    """Read what a graph computes in."""
    return fields.one_of("precision", *PRECISIONS)


def read_calibration(fields: Fields) -> dict[str, Calibration]:
    """Read how graphs were quantised, by encoder or file."""
    found = {}
    for name in fields.value:
        entry = fields.fields(name)
        entry.only(*Calibration.__dataclass_fields__)
        found[name] = Calibration(
            method=entry.text("method"),
            data_sha256=entry.hex64("data_sha256"),
            onnx_sha256=entry.hex64("onnx_sha256"),
            n=entry.integer("n", 1, 2**53),
            keep=entry.number("keep", 0, 1) if "keep" in entry.value else None,
        )
    return found


def read_precision_effect(fields: Fields) -> dict[str, dict[str, float]]:
    """Read what a precision changes, by encoder or file: free names, finite numbers."""
    found = {}
    for name in fields.value:
        entry = fields.fields(name)
        found[name] = {key: entry.number(key, -1e9, 1e9) for key in entry.value}
    return found


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
    first, second = _names(fields, name, 2)
    return first, second


def _names(fields: Fields, name: str, count: int) -> tuple[str, ...]:
    values = fields.texts(name)
    if len(values) != count or len(set(values)) != count:
        wanted = "two different names" if count == 2 else "one name"
        raise fields.fail(name, f"must be {wanted}, not {list(values)}")
    return values
