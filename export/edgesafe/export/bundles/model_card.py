"""A model card in Markdown: what the manifest says, in the order a reader asks for it.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Nothing is added: a section
whose facts the manifest does not have says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgesafe.export.bundles.specs import graph_specs
from edgesafe.runtime.manifest import Common, Manifest, Rate
from edgesafe.runtime.manifest_pose import PoseManifest

__all__ = ["model_card"]


def model_card(manifest: Manifest | PoseManifest) -> str:
    """Return the card of a package."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest | PoseManifest) -> Iterator[str]:
    yield f"# {manifest.name}, release {manifest.release}"
    yield ""
    kind = str(manifest.raw["kind"])
    method = f", method `{manifest.method}`" if isinstance(manifest, Manifest) else ""
    yield f"A {kind} package of edgesafe{method}, made {manifest.created}; `{manifest.identity}`. "
    yield f"Needs edgesafe {manifest.minimum_runtime} or later."
    yield from _section("Intended use", [manifest.intended_use])
    yield from _section("Limits", [f"* {text}" for text in manifest.limits])
    weights = manifest.weights
    origin = [f"Licence: {weights.licence}", "", *(f"* {text}" for text in weights.origin)]
    yield from _section("Weights", [*origin, *(["", weights.notice] if weights.notice else [])])
    yield from _section("Networks", _networks(manifest))
    if manifest.precision_effect or manifest.calibration:
        yield from _section("Precision", list(_precision(manifest)))
    if isinstance(manifest, Manifest):
        yield from _section("Thresholds", _thresholds(manifest))
    else:
        yield from _section("Objects", _objects(manifest))
    yield from _section("Export against the checkpoint", _parity(manifest))


def _section(title: str, lines: list[str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield from lines or ["The package does not say."]


def _networks(manifest: Manifest | PoseManifest) -> list[str]:
    rows = ["| file | computes in | stored as | opset | MB |", "|---|---|---|---|---|"]
    for spec in graph_specs(manifest).values():
        size = manifest.files[spec.file].size / 1e6
        rows.append(
            f"| {spec.file} | {spec.precision} | {spec.storage} | {spec.opset} | {size:.1f} |"
        )
    return rows


def _precision(manifest: Manifest | PoseManifest) -> Iterator[str]:
    specs = graph_specs(manifest)
    names = [n for n in specs if n in manifest.precision_effect or n in manifest.calibration]
    # What is noted of a graph that is no longer there is said too.
    noted = {*manifest.precision_effect, *manifest.calibration}
    names += sorted(noted - set(names))
    yield "| graph | computes in | quantised by | calibration inputs | left in float32, at most |"
    yield "|---|---|---|---|---|"
    for name in names:
        precision = specs[name].precision if name in specs else "–"
        found = manifest.calibration.get(name)
        how = ["–"] * 3
        if found is not None:
            kept = "not told" if found.keep is None else f"{100 * found.keep:g} %"
            how = [found.method, str(found.n), kept]
        yield f"| {_cell(name)} | {precision} | {' | '.join(map(_cell, how))} |"
    if not manifest.precision_effect:
        return
    yield ""
    yield "What that changes against float32, as measured at the export:"
    yield ""
    yield "| graph | measure | value |"
    yield "|---|---|---|"
    for name in names:
        for key, value in manifest.precision_effect.get(name, {}).items():
            yield f"| {_cell(name)} | {_cell(key)} | {value:.6g} |"


def _cell(text: str) -> str:
    """Free text within a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _thresholds(manifest: Manifest) -> list[str]:
    if not manifest.thresholds:
        return ["None: every verdict is undecided until the package is calibrated."]
    rows = [
        "A threshold is not portable: calibrate it on your own data (`edgesafe calibrate "
        "threshold`).",
        "",
        "| modality | threshold | interval | chosen on | false alarms | misses |",
        "|---|---|---|---|---|---|",
    ]
    for modality, entry in manifest.thresholds.items():
        low, high = entry.interval
        rows.append(
            f"| {modality} | {entry.value:.4f} | {low:.4f} to {high:.4f} | {entry.n} cases | "
            f"{_rate(entry.fpr)} | {_rate(entry.miss_rate)} |"
        )
    return rows


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "not measured"
    low, high = rate.interval
    return f"{100 * rate.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def _objects(manifest: PoseManifest) -> list[str]:
    rows = ["| id | name | diameter, mm | keypoints |", "|---|---|---|---|"]
    for entry in manifest.objects:
        rows.append(
            f"| {entry.id} | {entry.name} | {entry.diameter:.1f} | {len(entry.keypoints)} |"
        )
    return rows


def _parity(manifest: Common) -> list[str]:
    rows = ["| network | largest relative error | inputs |", "|---|---|---|"]
    for name, entry in manifest.parity.items():
        rows.append(f"| {name} | {entry.max_relative_error:.1e} | {entry.n} |")
    return rows if manifest.parity else []
