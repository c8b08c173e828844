"""The manifest of a model package: what the runtime needs to know, checked before it is believed.

``manifest.json`` holds a digest of itself: the SHA-256 of the canonical JSON of all its keys but
``digest``. That finds damage and careless edits; it is not a signature, and does not stop somebody
who computes it anew.

There are packages of two kinds: ``moderation`` (here) and ``pose`` (:mod:`.manifest_pose`); what
both say is :class:`Common`. Packages for moderation are of three methods: ``hysac`` (the score is
the distance from the root of hyperbolic space), ``safeclip`` (flat embeddings; a linear probe
scores them) and ``classifier`` (images only; its unsafe labels' probabilities are the score).

Unknown keys are refused, with two exceptions: ``training`` is free, for whatever the trainer wants
to record, and so are top-level keys that start with ``x_``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.runtime.manifest_parts import (
    ACTIVATIONS,
    FILE_NAME,
    MANIFEST,
    METHODS,
    Bounds,
    Calibration,
    FileEntry,
    Geometry,
    ImageEncoder,
    Label,
    Parity,
    Rate,
    TextEncoder,
    Threshold,
    Weights,
    read_bounds,
    read_calibration,
    read_files,
    read_geometry,
    read_image,
    read_labels,
    read_one_file,
    read_parity,
    read_per_modality,
    read_precision_effect,
    read_text,
    read_threshold,
    read_weights,
)
from edgesafe.runtime.thresholds import FAR
from edgesafe.runtime.version import VERSION, parse_version

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Bounds",
    "Calibration",
    "Common",
    "FileEntry",
    "Geometry",
    "ImageEncoder",
    "Label",
    "Manifest",
    "Parity",
    "Rate",
    "TextEncoder",
    "Threshold",
    "Weights",
    "check_keys",
    "check_named_files",
    "manifest_digest",
    "parse_manifest",
    "read_common",
    "read_head",
]

FORMAT = "edgesafe.package/1"
# Parsed as a whole into Python objects, which take several times their size.
_MAX_JSON_BYTES = 64 << 20
# Smallest score: a root distance and a sum of probabilities are not negative, a logit may be.
_LEAST_SCORE = {"hysac": 0.0, "safeclip": -FAR, "classifier": 0.0}
_USED_BY = {"moderation": "edgesafe moderate", "pose": "edgesafe pose"}


@dataclass(frozen=True)
class Common:
    """What the manifests of all kinds of packages say.

    ``raw`` is the parsed JSON, for showing and for making the next release; read it, never write.
    """

    name: str
    release: int
    created: str
    minimum_runtime: str
    files: Mapping[str, FileEntry]
    golden: str
    parity: Mapping[str, Parity]
    precision_effect: Mapping[str, Mapping[str, float]]
    calibration: Mapping[str, Calibration]
    weights: Weights
    intended_use: str
    limits: tuple[str, ...]
    training: Mapping[str, Any]
    digest: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def identity(self) -> str:
        """``name@release#digest``, with as much of the digest as tells two builds apart."""
        return f"{self.name}@{self.release}#{self.digest[:12]}"


@dataclass(frozen=True)
class Manifest(Common):
    """A checked manifest of a moderation package.

    Attributes:
        method: ``"hysac"``, ``"safeclip"`` or ``"classifier"``.
        geometry: Of the embeddings; None for a classifier, which has none.
        image: None for a package of texts only.
        text: None for a package of images only.
        thresholds: By modality.
        bounds: Root distances by class of the training data; only of hysac.
        concepts: File with the concept bank; None for a classifier.
        labels: Of a classifier, in the order of its scores.
        activation: Of a classifier: what turns its scores into probabilities, ``"softmax"``,
            ``"sigmoid"`` or ``"none"``.
        probe: File with the linear probe of a safeclip package; None without one.
    """

    method: str
    geometry: Geometry | None
    image: ImageEncoder | None
    text: TextEncoder | None
    thresholds: Mapping[str, Threshold]
    bounds: Mapping[str, Bounds]
    concepts: str | None
    labels: tuple[Label, ...] = ()
    activation: str | None = None
    probe: str | None = None

    @property
    def dim(self) -> int:
        """Numbers in one row of an encoder's first output."""
        return self.geometry.dim if self.geometry else len(self.labels)

    def lorentz(self) -> Geometry:
        """Return the geometry of a hyperbolic package.

        Raises:
            PackageError: It is of another method.
        """
        if self.geometry is None or self.geometry.model != "lorentz":
            raise PackageError(
                f"{self.identity} is of the method {self.method!r} and has no hyperbolic space: "
                "a package of the method 'hysac' is needed"
            )
        return self.geometry


def manifest_digest(fields: Mapping[str, Any]) -> str:
    """Return the digest that belongs into ``digest``: of all other keys, as canonical JSON."""
    return sha256_hex(canonical_json({k: v for k, v in fields.items() if k != "digest"}))


def check_kind(top: Fields, wanted: str, where: str) -> None:
    """Refuse a manifest of another kind, and say what its package is for.

    Raises:
        PackageError: The kind is not the wanted one.
    """
    found = top.one_of("kind", *_USED_BY)
    if found != wanted:
        raise PackageError(
            f"{where}: a {wanted} package is needed, this is a {found} package: give it to "
            f"`{_USED_BY[found]}`"
        )


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """Check and read a manifest.

    Args:
        data: The bytes of ``manifest.json``.
        where: What to call it in messages.

    Raises:
        PackageError: Not a manifest, damaged, edited, of an unknown format, too new for this
            runtime, or with a value of a wrong type or out of its range.
    """
    top = read_head(data, where)
    check_kind(top, "moderation", where)
    method = top.one_of("method", *METHODS)
    _check_keys(top, method)
    encoders = top.fields("encoders")
    encoders.only("image", "text")
    if method == "classifier":
        encoders.only("image")
    outputs = 2 if method == "hysac" else 1
    classifier = method == "classifier"
    threshold = partial(read_threshold, low=_LEAST_SCORE[method])
    manifest = Manifest(
        **read_common(top),
        method=method,
        geometry=None if classifier else read_geometry(top.fields("geometry")),
        image=read_image(encoders.fields("image"), outputs) if "image" in encoders else None,
        text=read_text(encoders.fields("text"), outputs) if "text" in encoders else None,
        thresholds=read_per_modality(top.fields("thresholds"), threshold),
        bounds=read_bounds(top.fields("bounds")) if method == "hysac" else {},
        concepts=None if classifier else read_one_file(top.fields("concepts")),
        labels=read_labels(top) if classifier else (),
        activation=top.one_of("activation", *ACTIVATIONS) if classifier else None,
        probe=read_one_file(top.fields("probe")) if "probe" in top else None,
    )
    top.fields("parity").only("image", "text")
    _check_references(manifest, where)
    return manifest


def read_head(data: bytes, where: str) -> Fields:
    """Read what has to hold before anything else of a manifest of any kind can be believed.

    Raises:
        PackageError: Not a manifest, damaged, edited, of an unknown format, or too new.
    """
    top = parse_json(data, where)
    # In this order: of a newer format nothing else can be expected to hold.
    found = top.text("format")
    if found != FORMAT:
        raise PackageError(
            f"{where}: format is {found!r:.80}, this runtime reads {FORMAT!r}: update edgesafe or "
            "export the package again"
        )
    _check_runtime(top)
    _check_digest(top)
    return top


def read_common(top: Fields) -> dict[str, Any]:
    """Read the fields of :class:`Common`.

    Raises:
        PackageError: A value is missing, of a wrong type or out of its range.
    """
    parity = top.fields("parity")
    return {
        "name": _name(top),
        "release": top.integer("release", 1, 2**31 - 1),
        "created": top.text("created"),
        "minimum_runtime": top.text("minimum_runtime"),
        "files": read_files(top.fields("files")),
        "golden": read_one_file(top.fields("golden")),
        "parity": {name: read_parity(parity.fields(name)) for name in parity.value},
        "precision_effect": read_precision_effect(_optional(top, "precision_effect")),
        "calibration": read_calibration(_optional(top, "calibration")),
        "weights": read_weights(top.fields("weights")),
        "intended_use": top.text("intended_use"),
        "limits": top.texts("limits"),
        "training": top.fields("training").value,
        "digest": top.text("digest"),
        "raw": top.value,
    }


def _optional(top: Fields, name: str) -> Fields:
    return top.fields(name) if name in top else Fields({}, f"{top.where}: {name}")


def _check_runtime(top: Fields) -> None:
    wanted = top.text("minimum_runtime")
    try:
        too_new = parse_version(wanted) > parse_version(VERSION)
    except ValueError as error:
        raise top.fail("minimum_runtime", str(error)) from None
    if too_new:
        raise PackageError(
            f"{top.where}: the package needs edgesafe {wanted} and this is {VERSION}: "
            "pip install --upgrade edgesafe"
        )


def _check_digest(top: Fields) -> None:
    try:
        expected = manifest_digest(top.value)
    except (ValueError, RecursionError) as error:  # 1e999, a lone surrogate
        raise PackageError(f"{top.where} cannot be digested ({error}): fetch it again") from None
    if top.text("digest") != expected:
        raise PackageError(
            f"{top.where} does not match its own digest: it is damaged or was edited; fetch or "
            "export the package again"
        )


def check_keys(top: Fields, known: set[str]) -> None:
    """Refuse keys that are neither known nor free.

    Raises:
        PackageError: There is one.
    """
    free = {key for key in top.value if key.startswith("x_")}
    top.only(*known - {"raw"}, "format", "kind", *free)


_OF_METHOD = {
    "hysac": {"geometry", "bounds", "concepts"},
    "safeclip": {"geometry", "concepts", "probe"},
    "classifier": {"labels", "activation"},
}


def _check_keys(top: Fields, method: str) -> None:
    known = set(Manifest.__dataclass_fields__) - {"image", "text"} | {"encoders"}
    special = set().union(*_OF_METHOD.values())
    check_keys(top, known - special | _OF_METHOD[method])


def _name(top: Fields) -> str:
    name = top.text("name")
    if not FILE_NAME.fullmatch(name):
        raise top.fail("name", "must be letters, digits, dots, dashes and underscores")
    return name


def _check_references(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose parts do not fit together."""
    encoders = {"image": manifest.image, "text": manifest.text}
    there = {name for name, encoder in encoders.items() if encoder}
    if not there:
        raise PackageError(f"{where}: encoders must hold an image or a text encoder")
    for part in ("thresholds", "parity"):
        extra = sorted(set(getattr(manifest, part)) - there)
        if extra:
            raise PackageError(f"{where}: {part} names {extra}, for which there is no encoder")
    wanted = {"hysac": "lorentz", "safeclip": "euclidean", "classifier": None}[manifest.method]
    if (manifest.geometry.model if manifest.geometry else None) != wanted:
        raise PackageError(f"{where}: geometry.model of the method {manifest.method} is {wanted!r}")
    named = [manifest.golden]
    named += [name for name in (manifest.concepts, manifest.probe) if name]
    named += [encoder.file for encoder in encoders.values() if encoder]
    named += [manifest.text.tokenizer] if manifest.text else []
    models = {encoder.file for encoder in encoders.values() if encoder}
    check_named_files(manifest, named, models, where)


def check_named_files(
    manifest: Common, named: Sequence[str], models: Collection[str], where: str
) -> None:
    """Refuse names of files that are not there, named twice, or too large to be parsed.

    Args:
        manifest: Whose ``files`` they must be among.
        named: The files that the manifest gives a purpose.
        models: Those among them that may be large: they are not JSON.
        where: What to call the manifest in messages.

    Raises:
        PackageError: There is one.
    """
    if len(set(named)) != len(named):
        raise PackageError(f"{where}: one file is named for two purposes: {sorted(named)}")
    for name in named:
        if name not in manifest.files:
            raise PackageError(f"{where}: {name!r:.120} is used but not listed under files")
    for name in set(named) - set(models):
        if manifest.files[name].size > _MAX_JSON_BYTES:
            raise PackageError(f"{where}: {name} is larger than {_MAX_JSON_BYTES >> 20} MiB")
