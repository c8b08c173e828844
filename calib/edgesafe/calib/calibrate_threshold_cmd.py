"""``edgesafe calibrate threshold``: a threshold on the user's own data, into the next release."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.judged import Judged, Unjudged
    from edgesafe.calib.labelled import Labelled
    from edgesafe.runtime.package import Package
    from edgesafe.runtime.thresholds import Rate, Threshold
    from edgesafe.runtime.verdict import Modality

__all__ = ["score_with_progress", "shown_threshold", "threshold", "which_records"]

SHARE = FiniteRange(0, 1, min_open=True, max_open=True)
_MANY_ALARMS = 0.5
CONFIDENCE = FiniteRange(0.5, 1, max_open=True)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Package to calibrate. [default: the one that comes with edgesafe]",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Package to make.")
@click.option(
    "--max-miss",
    type=SHARE,
    help="Largest share of unsafe inputs that may pass, guaranteed. [default: 0.05]",
)
@click.option(
    "--max-fpr",
    type=SHARE,
    help="Instead: the best threshold that flags at most this share of the safe cases, without "
    "guarantee.",
)
@click.option(
    "--confidence",
    type=CONFIDENCE,
    default=0.95,
    show_default=True,
    help="Of guarantees and intervals.",
)
@click.option(
    "--band",
    type=SHARE,
    metavar="MAX_FPR",
    help="Call at most this share of safe inputs unsafe, guaranteed; between the two cuts inputs "
    "are undecided.",
)
@click.option(
    "--per-concept", is_flag=True, help="A threshold of its own for each harmful concept."
)
@click.option(
    "--prevalence",
    type=SHARE,
    help="Share of unsafe inputs in deployment, for probabilities. [default: as in DATA]",
)
@click.option(
    "--modality",
    type=click.Choice(["image", "text", "both"]),
    help="Which threshold to choose. [default: of whatever DATA holds]",
)
@click.option("--report", type=click.Path(path_type=Path), help="HTML file with drawings to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing package.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def threshold(
    data: Path,
    model: Path | None,
    out: Path,
    max_miss: float | None,
    max_fpr: float | None,
    confidence: float,
    band: float | None,
    per_concept: bool,
    prevalence: float | None,
    modality: str | None,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Choose the decision threshold of a package on DATA and write its next release.

    DATA is a folder with safe/ and unsafe/, or JSON lines {"image"|"text": ..., "label":
    "safe"|"unsafe", "tag"?: ...} with paths relative to the file.

    The threshold misses at most --max-miss of unsafe inputs like those of DATA, with the stated
    confidence. Too few samples for that are an error that says how many are needed.
    """
    from edgesafe.calib.choose_threshold import Wish, choose_threshold
    from edgesafe.calib.concept_alarms import concept_alarms
    from edgesafe.calib.labelled import read_labelled
    from edgesafe.calib.next_release import check_out, plain_threshold, write_next_release
    from edgesafe.calib.threshold_report import threshold_report
    from edgesafe.runtime.files import atomic_write, check_writable
    from edgesafe.runtime.package import default_model_path, read_package

    if max_fpr is not None and (max_miss is not None or band is not None or per_concept):
        raise UsageError("--max-fpr goes without --max-miss, --band and --per-concept")
    check_out(out, overwrite=overwrite)
    if report is not None:
        check_writable(report, "--report")
    package = read_package(model or default_model_path())
    records = which_records(read_labelled(data), package, modality, data)
    judged, unjudged = score_with_progress(package, records)
    wish = Wish(
        max_miss=None if max_fpr is not None else max_miss or 0.05,
        max_fpr=max_fpr,
        confidence=confidence,
        band=band,
        per_concept=per_concept,
        prevalence=prevalence,
    )
    chosen = {
        name: choose_threshold([one for one in judged if one.record.modality == name], wish)
        for name in _modalities(records)
    }
    made = write_next_release(package, out, thresholds=chosen, overwrite=overwrite)
    if report is not None:
        atomic_write(report, threshold_report(made.manifest, judged, chosen).encode("utf-8"))
    alarms = {
        name: concept_alarms([case for case in judged if case.record.modality == name], one)
        for name, one in chosen.items()
    }
    for name, one in chosen.items():
        if one.fpr and one.fpr.value > _MANY_ALARMS:
            click.echo(
                f"warning: {100 * one.fpr.value:.0f} % of the safe {name}s are flagged: this model "
                "hardly tells your data apart, and keeps the promise at that price",
                err=True,
            )
        for concept, rate in alarms[name].items():
            if rate.value > _MANY_ALARMS:
                told = (
                    f"warning: the threshold of {concept!r} flags {100 * rate.value:.0f} % of its "
                    f"{rate.n} safe {name}s"
                )
                click.echo(printable(told, sys.stderr), err=True)
    if as_json:
        summary: dict[str, Any] = {
            "package": made.manifest.identity,
            "path": str(out),
            "thresholds": {name: plain_threshold(one) for name, one in chosen.items()},
            "unjudged": [_plain_unjudged(one) for one in unjudged],
        }
        click.echo(json.dumps(summary))
        return
    for name, one in chosen.items():
        for line in shown_threshold(name, one, alarms[name]):
            click.echo(printable(line, sys.stdout))
    click.echo(f"written: {out}  {made.manifest.identity}")
    if report is not None:
        click.echo(f"written: {report}")


def which_records(
    records: list[Labelled], package: Package, modality: str | None, data: Path
) -> list[Labelled]:
    """Return the records of the wanted modalities.

    Raises:
        UsageError: There are none, or the package cannot judge them.
    """
    wanted = ("image", "text") if modality in (None, "both") else (modality,)
    chosen = [record for record in records if record.modality in wanted]
    there = _modalities(chosen)
    asked = ("image", "text") if modality == "both" else wanted if modality else there
    for name in asked:
        if name not in there:
            raise UsageError(f"{data} holds no {name}s")
        if getattr(package.manifest, str(name)) is None:
            raise UsageError(
                f"{package.path} has no {name} encoder, and {data} holds {name}s: choose with "
                "--modality what to use"
            )
    return chosen


def _modalities(records: list[Labelled]) -> tuple[Modality, ...]:
    there = {record.modality for record in records}
    order: tuple[Modality, ...] = ("image", "text")
    return tuple(name for name in order if name in there)


def score_with_progress(
    package: Package, records: list[Labelled]
) -> tuple[list[Judged], list[Unjudged]]:
    """Score records, with a line on a terminal, and name what could not be judged."""
    from edgesafe.calib.judged import score_records, unjudged_report

    drawn = sys.stderr.isatty()

    def progress(done: int) -> None:
        if drawn and (done % 10 == 0 or done == len(records)):
            end = "\n" if done == len(records) else ""
            click.echo(f"\r{done}/{len(records)} records{end}", nl=False, err=True)

    judged, unjudged = score_records(package, records, progress=progress)
    if unjudged:
        for line in unjudged_report(unjudged).splitlines():
            click.echo(printable(line, sys.stderr), err=True)
    return judged, unjudged


def _plain_unjudged(one: Unjudged) -> dict[str, str]:
    return {"name": one.record.name, "reason": one.reason, "detail": one.detail}


def shown_threshold(
    name: str, found: Threshold, alarms: Mapping[str, Rate] | None = None
) -> list[str]:
    """Return the lines that tell a person of a threshold.

    Args:
        name: Its modality.
        found: The threshold.
        alarms: Share of the safe cases that each concept's own threshold flags.
    """
    low, high = found.interval
    lines = [
        f"{name}: safe up to {found.value:.4g}  ({100 * found.confidence:g} % interval {low:.4g} "
        f"to {high:.4g}, {found.n} cases)"
    ]
    for title, rate in (("false alarms", found.fpr), ("missed", found.miss_rate)):
        if rate:
            lines.append(f"  {title:<13}{_rate(rate)}")
    if found.band:
        lines.append(f"  undecided    above {found.band.lower:.4g}, up to {found.band.upper:.4g}")
    for concept, own in found.concepts.items():
        told = f"  {concept:<13}safe up to {own.value:.4g}  ({own.n} cases)"
        if alarms and concept in alarms:
            told += f"  false alarms {_rate(alarms[concept])}"
        lines.append(told)
    if found.temperature:
        lines.append(f"  probability  {found.temperature.formula}")
    else:
        lines.append("  probability  none: the score does not rise with danger")
    return [*lines, f"  rule         {found.rule}"]


def _rate(rate: Rate) -> str:
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} % ({low:.1f} to {high:.1f} %, {rate.n} cases)"
