"""``edgesafe calibrate probe``: what scores the embeddings of a Safe-CLIP package."""

from __future__ import annotations

import json
import math
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.calib.calibrate_threshold_cmd import (
    CONFIDENCE,
    SHARE,
    score_with_progress,
    shown_threshold,
    which_records,
)
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.choose_threshold import Wish
    from edgesafe.calib.labelled import Labelled
    from edgesafe.runtime.package import Package
    from edgesafe.runtime.probe import Probe

__all__ = ["probe"]

_PROBE_FILE = "probe.json"
_FEWEST = 5
"""Unsafe cases for a fit: one in each part of its cross-validation."""


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(path_type=Path), required=True, help="Package of method safeclip."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Package to make.")
@click.option(
    "--max-miss",
    type=SHARE,
    default=0.05,
    show_default=True,
    help="Largest share of unsafe inputs that may pass, guaranteed.",
)
@click.option(
    "--confidence", type=CONFIDENCE, default=0.95, show_default=True, help="Of the guarantee."
)
@click.option(
    "--fit-share",
    type=SHARE,
    default=0.5,
    show_default=True,
    help="Share of DATA that the probe is fitted on; the threshold is chosen on the rest.",
)
@click.option("--l2", type=FiniteRange(0, min_open=True), help="[default: cross-validated]")
@click.option(
    "--modality",
    type=click.Choice(["image", "text", "both"]),
    help="Which probe to fit. [default: of whatever DATA holds]",
)
@click.option("--report", type=click.Path(path_type=Path), help="HTML file with drawings to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def probe(
    data: Path,
    model: Path,
    out: Path,
    max_miss: float,
    confidence: float,
    fit_share: float,
    l2: float | None,
    modality: str | None,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit the linear probe of a Safe-CLIP package on DATA and write its next release.

    DATA is that of `calibrate threshold`. One part of it fits the probe (logistic regression), the
    other chooses its threshold: scores of cases that a probe was fitted on are better than those
    of cases to come, and would promise too much.
    """
    from edgesafe.calib.choose_threshold import Wish, choose_threshold
    from edgesafe.calib.labelled import read_labelled
    from edgesafe.calib.next_release import check_out, plain_threshold, write_next_release
    from edgesafe.calib.threshold_report import threshold_report
    from edgesafe.runtime.files import atomic_write, check_writable
    from edgesafe.runtime.package import read_package
    from edgesafe.runtime.probe import parse_probe, probe_json

    check_out(out, overwrite=overwrite)
    if report is not None:
        check_writable(report, "--report")
    package = read_package(model)
    manifest = package.manifest
    if manifest.method != "safeclip":
        raise UsageError(
            f"{model} is of the method {manifest.method!r}, which scores without a probe: "
            "`edgesafe calibrate threshold` is all it needs"
        )
    records = which_records(read_labelled(data), package, modality, data)
    fitting, rest = _split(records, fit_share)
    wish = Wish(max_miss=max_miss, confidence=confidence)
    _check_enough(records, rest, wish, fit_share)
    name = manifest.probe or _PROBE_FILE
    probes = parse_probe(package.files[name], manifest.dim, name) if manifest.probe else {}
    found: dict[str, Any] = {}
    for kind in sorted({record.modality for record in records}):
        probes[kind], found[kind] = _fit(package, [r for r in fitting if r.modality == kind], l2)
    files = {name: probe_json(probes)}
    judged, unjudged = score_with_progress(_with_probe(package, name, files[name]), rest)
    # Once more, now that what cannot be judged is known.
    _check_enough(records, [one.record for one in judged], wish, fit_share)
    chosen = {
        kind: choose_threshold([one for one in judged if one.record.modality == kind], wish)
        for kind in sorted({record.modality for record in records})
    }
    made = write_next_release(
        package,
        out,
        thresholds=chosen,
        fields={"probe": {"file": name}},
        files=files,
        overwrite=overwrite,
    )
    if report is not None:
        atomic_write(report, threshold_report(made.manifest, judged, chosen).encode("utf-8"))
    if as_json:
        thresholds = {kind: plain_threshold(one) for kind, one in chosen.items()}
        summary: dict[str, Any] = {"package": made.manifest.identity, "path": str(out)}
        summary |= {"fits": found, "thresholds": thresholds, "unjudged": len(unjudged)}
        click.echo(json.dumps(summary))
        return
    for kind, threshold in chosen.items():
        fit = found[kind]
        click.echo(
            f"{kind}: probe of {fit['n']} cases, l2 {fit['l2']:g}, area under the ROC curve by "
            f"cross-validation {fit['auc']:.3f}"
        )
        for line in shown_threshold(kind, threshold):
            click.echo(printable(line, sys.stdout))
    click.echo(f"written: {out}  {made.manifest.identity}")


def _split(records: list[Labelled], share: float) -> tuple[list[Labelled], list[Labelled]]:
    """Cut each class of each modality in two, at random and the same at every call."""
    import numpy as np

    rng = np.random.default_rng(0)
    first: list[Labelled] = []
    second: list[Labelled] = []
    classes: dict[tuple[str, bool], list[Labelled]] = {}
    for record in records:
        classes.setdefault((record.modality, record.unsafe), []).append(record)
    for _, items in sorted(classes.items()):
        count = round(share * len(items))
        chosen = set(rng.permutation(len(items))[:count].tolist())
        first += [item for index, item in enumerate(items) if index in chosen]
        second += [item for index, item in enumerate(items) if index not in chosen]
    return first, second


def _check_enough(
    records: list[Labelled], rest: list[Labelled], wish: Wish, fit_share: float
) -> None:
    """Refuse what leaves too few unsafe cases for the threshold.

    Args:
        records: All of the data.
        rest: What the threshold is to be chosen on.
        wish: Its guarantee.
        fit_share: Of the data for the fit.

    Raises:
        DataError: The message says how many are needed in all, and what share would leave enough.
    """
    from edgesafe.calib.miss_control import needed_cases

    assert wish.max_miss is not None
    needed = needed_cases(wish.max_miss, wish.confidence)
    for kind in sorted({record.modality for record in records}):
        total = sum(record.unsafe for record in records if record.modality == kind)
        left = sum(record.unsafe for record in rest if record.modality == kind)
        if left >= needed:
            continue
        lost = total - round(fit_share * total) - left
        wanted = needed + lost
        enough = next(n for n in count(total) if n - round(fit_share * n) >= wanted)
        spare = total - wanted
        less = (
            f"--fit-share {math.floor(100 * spare / total) / 100:g}, " if spare >= _FEWEST else ""
        )
        unjudged = f" and {lost} cannot be judged" if lost else ""
        raise DataError(
            f"of the {total} unsafe {kind}s {left} are left for the threshold: --fit-share "
            f"{fit_share:g} takes {total - left - lost} for the fit{unjudged}. Missing at most "
            f"{100 * wish.max_miss:g} % with confidence {wish.confidence:g} needs {needed}: add "
            f"{enough - total} unsafe {kind}s ({enough} in all), or pass {less}a larger "
            "--max-miss or a lower --confidence"
        )


def _fit(package: Package, records: list[Labelled], l2: float | None) -> tuple[Probe, Any]:
    from edgesafe.calib.features import FeatureReader, training_rows
    from edgesafe.calib.logistic import GRID, choose_l2, fit_probe

    rows, labels = training_rows(FeatureReader(package).read(records))
    strength, areas = choose_l2(rows, labels, grid=GRID if l2 is None else (l2,))
    fit = {"l2": strength, "n": int(labels.size), "auc": areas[strength]}
    return fit_probe(rows, labels, strength), fit


def _with_probe(package: Package, name: str, content: bytes) -> Package:
    from dataclasses import replace

    manifest = replace(package.manifest, probe=name)
    return replace(package, manifest=manifest, files={**package.files, name: content})
