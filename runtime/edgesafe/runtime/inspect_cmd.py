"""``edgesafe inspect``: a model package or a checkpoint, for a person.

A package is fully verified first: what is shown is what a moderator would use, or an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edgesafe.runtime.concepts import ConceptBank, read_bank
from edgesafe.runtime.errors import CheckpointError, PackageError, SourceError
from edgesafe.runtime.fields import parse_json
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.manifest import (
    MANIFEST,
    Common,
    ImageEncoder,
    Manifest,
    Rate,
    TextEncoder,
    Threshold,
)
from edgesafe.runtime.manifest_pose import PoseObject
from edgesafe.runtime.package import (
    Package,
    PosePackage,
    default_model_path,
    package_kind,
    read_package,
    read_pose_package,
)
from edgesafe.runtime.pose.golden import parse_pose_golden
from edgesafe.runtime.thresholds import Band, ConceptThreshold

__all__ = ["inspect"]

CHECKPOINT = "checkpoint.json"
_MAX_CHECKPOINT_BYTES = 16 << 20
_SCORES = {
    "hysac": "root distance",
    "safeclip": "logit of the probe",
    "classifier": "probability of the unsafe labels",
}

Line = tuple[str, str]
Section = tuple[str, list[Line]]


@click.command()
@click.argument("path", metavar="[PKG|CKPT]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one line of JSON.")
@click.option(
    "--allow-hard-links", is_flag=True, help="Accept files that have other names on this disk."
)
def inspect(path: Path | None, as_json: bool, allow_hard_links: bool) -> None:
    """Show what is in a model package or a checkpoint; without PKG, in the sample package.

    Every file of a package is verified. Of a checkpoint only checkpoint.json is read.
    """
    folder = path or default_model_path()
    if (folder / CHECKPOINT).is_file() and not (folder / MANIFEST).exists():
        raw = _read_checkpoint(folder / CHECKPOINT)
        sections = _checkpoint(folder, raw)
    else:
        raw, sections = _verified(folder, allow_hard_links)
    if as_json:
        click.echo(json.dumps(raw, ensure_ascii=True, allow_nan=False))
        return
    for line in _layout(sections):
        click.echo(line)


def _verified(folder: Path, allow_hard_links: bool) -> tuple[dict[str, Any], Iterator[Section]]:
    if package_kind(folder) == "pose":
        pose = read_pose_package(folder, allow_hard_links=allow_hard_links)
        return dict(pose.manifest.raw), _pose_package(pose)
    package = read_package(folder, allow_hard_links=allow_hard_links)
    return dict(package.manifest.raw), _package(package)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_CHECKPOINT_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_CHECKPOINT_BYTES:
        raise CheckpointError(f"{path} is larger than {_MAX_CHECKPOINT_BYTES >> 20} MiB")
    try:
        fields = parse_json(data, str(path))
        if not fields.text("format").startswith("edgesafe.checkpoint/"):
            raise fields.fail("format", "is not that of an edgesafe checkpoint")
    except PackageError as error:
        raise CheckpointError(str(error)) from None
    return dict(fields.value)


def _checkpoint(folder: Path, raw: dict[str, Any]) -> Iterator[Section]:
    head = [key for key in ("format", "method", "seed") if key in raw]
    yield "Checkpoint", [("path", str(folder)), *((key, _plain(raw[key])) for key in head)]
    for key, value in raw.items():
        if key in head or not value:
            continue
        if isinstance(value, dict):
            yield key.capitalize(), [(name, _plain(entry)) for name, entry in value.items()]
        elif isinstance(value, list):
            yield key.capitalize(), [("", _plain(entry)) for entry in value]
        else:
            yield key.capitalize(), [("", _plain(value))]


def _package(package: Package) -> Iterator[Section]:
    manifest = package.manifest
    golden = read_golden(package)
    yield (
        "Package",
        _head(package.path, manifest, [("method", manifest.method), *_space(manifest)]),
    )
    yield "Files (size and SHA-256 verified)", _files(manifest)
    for name, encoder in (("Image", manifest.image), ("Text", manifest.text)):
        if encoder:
            yield f"{name} encoder", _encoder(manifest, name.lower(), encoder)
    yield f"Decision thresholds (safe up to this {_SCORES[manifest.method]})", _thresholds(manifest)
    if manifest.method == "hysac":
        yield (
            "Root distance by class, training data",
            [
                (name, f"mean {b.avg:.4f}, 5 % below {b.low_05:.4f}, 5 % above {b.up_95:.4f}")
                for name, b in manifest.bounds.items()
            ],
        )
    if manifest.labels:
        marks = [f"{label.name}{' (unsafe)' if label.unsafe else ''}" for label in manifest.labels]
        yield "Labels", [("", ", ".join(marks)), ("activation", manifest.activation or "none")]
    else:
        bank = read_bank(package)
        yield f"Concepts ({len(bank.concepts)})", _concepts(bank)
    yield (
        "Golden pairs",
        [
            ("images", str(len(golden.image))),
            ("texts", str(len(golden.text))),
        ],
    )
    yield from _terms(manifest)


def _space(manifest: Manifest) -> list[Line]:
    geometry = manifest.geometry
    if geometry is None:
        return []
    if geometry.model == "lorentz":
        return [
            ("geometry", f"Lorentz, curvature {geometry.curvature:g}, dimension {geometry.dim}")
        ]
    probe = manifest.probe or "none: it cannot judge until `edgesafe calibrate probe` adds one"
    return [("geometry", f"flat, dimension {geometry.dim}"), ("probe", probe)]


def _pose_package(package: PosePackage) -> Iterator[Section]:
    manifest, gates = package.manifest, package.manifest.gates
    golden = parse_pose_golden(package.files[manifest.golden], str(package.path / manifest.golden))
    yield "Package", _head(package.path, manifest, [("kind", "pose")])
    yield "Files (size and SHA-256 verified)", _files(manifest)
    yield f"Objects ({len(manifest.objects)})", [_object(entry) for entry in manifest.objects]
    for network in manifest.networks:
        ids = ", ".join(map(str, network.objects))
        yield (
            f"Network for {ids}",
            [
                ("file", network.file),
                ("precision", f"{network.precision}, weights stored as {network.storage}"),
                ("opset", str(network.opset)),
                ("head", network.head),
                ("input", f"{network.size} x {network.size} pixels, {network.roi_scale:g} x box"),
                ("looks", f"{network.views} per region"),
                *_parity(manifest, network.file),
            ],
        )
    detector = manifest.detector
    if detector:
        yield (
            "Detector for " + ", ".join(map(str, detector.objects)),
            [
                ("file", detector.file),
                ("precision", f"{detector.precision}, weights stored as {detector.storage}"),
                ("opset", str(detector.opset)),
                ("input", f"{detector.width} x {detector.height} pixels, letterboxed"),
                ("boxes", f"{detector.max_per_object} an object, score {detector.min_score:g} up"),
                *_parity(manifest, detector.file),
            ],
        )
    yield (
        "Gates (a pose is refused beyond them)",
        [(name, f"{getattr(gates, name):g}") for name in gates.__dataclass_fields__],
    )
    yield (
        "Golden pairs",
        [("regions", str(len(golden.roi))), ("frames", str(len(golden.detector)))],
    )
    yield from _terms(manifest)


def _object(entry: PoseObject) -> Line:
    symmetric = len(entry.symmetries_discrete) + len(entry.symmetries_continuous)
    size = " x ".join(f"{side:.0f}" for side in entry.size)
    return (
        f"{entry.id} {entry.name}",
        f"diameter {entry.diameter:.1f} mm, {size} mm, {len(entry.keypoints)} keypoints, "
        f"{symmetric or 'no'} symmetr{'y' if symmetric == 1 else 'ies'}, "
        f"{'outlines from all sides' if entry.silhouettes else 'no outlines'}",
    )


def _terms(manifest: Common) -> Iterator[Section]:
    yield (
        "Weights",
        [
            ("licence", manifest.weights.licence),
            *(("origin", origin) for origin in manifest.weights.origin),
            *([("notice", manifest.weights.notice)] if manifest.weights.notice else []),
        ],
    )
    yield "Intended use", [("", manifest.intended_use)]
    yield "Limits", [("", limit) for limit in manifest.limits]
    yield "Training", [(key, _plain(value)) for key, value in manifest.training.items()]


def _head(path: Path, manifest: Common, more: list[Line]) -> list[Line]:
    return [
        ("path", str(path)),
        ("name", manifest.name),
        ("release", str(manifest.release)),
        ("created", manifest.created),
        *more,
        ("needs edgesafe", f"{manifest.minimum_runtime} or newer"),
        ("digest", f"{manifest.digest} (verified; not a signature)"),
    ]


def _files(manifest: Common) -> list[Line]:
    total = sum(entry.size for entry in manifest.files.values())
    lines = [
        (name, f"{_size(entry.size):>10}  {entry.sha256}")
        for name, entry in sorted(manifest.files.items())
    ]
    return [*lines, ("in all", f"{_size(total):>10}")]


def _encoder(manifest: Manifest, name: str, encoder: ImageEncoder | TextEncoder) -> list[Line]:
    lines = [
        ("file", encoder.file),
        ("precision", f"{encoder.precision}, weights stored as {encoder.storage}"),
        ("opset", str(encoder.opset)),
    ]
    if isinstance(encoder, ImageEncoder):
        p = encoder.preprocess
        centre = f", centre {100 * p.crop_fraction:g} %" if p.crop_fraction < 1 else ""
        order = "" if encoder.channels == "rgb" else ", blue first"
        order += "" if encoder.layout == "nchw" else ", channels last"
        kind = f"{p.mode}{centre}, {p.interpolation}{order}"
        lines.append(("input", f"{p.width} x {p.height} pixels, {kind}"))
    else:
        fixed = ", always padded" if encoder.fixed_length else ""
        lines.append(("input", f"up to {encoder.max_tokens} tokens{fixed}"))
    return lines + _parity(manifest, name)


def _parity(manifest: Common, name: str) -> list[Line]:
    parity = manifest.parity.get(name)
    if parity is None:
        return []
    return [
        ("parity", f"largest relative error {parity.max_relative_error:.1e} ({parity.n} inputs)")
    ]


def _thresholds(manifest: Manifest) -> list[Line]:
    lines: list[Line] = []
    for name, entry in manifest.thresholds.items():
        lines.append((name, _threshold(entry)))
        if entry.max_miss is not None:
            share = f"{100 * entry.confidence:g} %"
            lines.append(("", f"chosen to miss at most {100 * entry.max_miss:g} %, {share} sure"))
        if entry.band:
            lines.append(("", _band(entry.band)))
        if entry.temperature:
            lines.append(("", f"probability: {entry.temperature.formula}"))
        for concept, own in entry.concepts.items():
            band = f"; {_band(own.band)}" if own.band else ""
            lines.append(("", f"of {concept}: {_threshold(own)}{band}"))
        for title, rate in (("false alarms", entry.fpr), ("missed", entry.miss_rate)):
            if rate:
                lines.append(("", f"{title}: {_rate(rate)}"))
        lines.append(("", f"rule: {entry.rule}"))
    absent = [n for n in ("image", "text") if getattr(manifest, n) and n not in manifest.thresholds]
    return lines + [(name, "none: every verdict will be undecided") for name in absent]


def _band(band: Band) -> str:
    return f"undecided above {band.lower:.4f}, up to {band.upper:.4f}"


def _threshold(entry: Threshold | ConceptThreshold) -> str:
    low, high = entry.interval
    share = f"{100 * entry.confidence:g} %"
    return f"{entry.value:.4f}  ({share} interval {low:.4f} to {high:.4f}, {entry.n} cases)"


def _rate(rate: Rate) -> str:
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} % ({low:.1f} to {high:.1f} %, {rate.n} cases)"


def _concepts(bank: ConceptBank) -> list[Line]:
    tags: dict[str, list[str]] = {}
    for concept in bank.concepts:
        tags.setdefault(f"{concept.tag}{' (allowed)' if concept.safe else ''}", []).append(
            concept.name
        )
    return [(tag, ", ".join(names)) for tag, names in tags.items()]


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count} bytes"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _layout(sections: Iterator[Section]) -> Iterator[str]:
    first = True
    for title, lines in sections:
        if not first:
            yield ""
        first = False
        yield _printable(title)
        width = max((len(name) for name, _ in lines), default=0)
        for name, text in lines or [("", "none")]:
            yield f"  {_printable(name):<{width}}{'  ' if width else ''}{_printable(text)}"


def _printable(text: str) -> str:
    """Show control characters as escapes: a manifest must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
