"""``edgesafe evaluate moderation``: packages and baselines against labels, side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.labelled import Labelled
    from edgesafe.calib.moderation_figures import Figure, Figures, Outcome
    from edgesafe.runtime.package import Package
    from edgesafe.runtime.verdict import Modality

__all__ = ["moderation"]

_COLUMNS = ("AUC", "FNR AT 5 % FPR", "FPR", "FNR", "ACCURACY")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Package to measure; repeatable. [default: the one that comes with edgesafe]",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=click.Choice(["probe", "prompts"]),
    help="Also measure a linear probe (needs --probe-data) or the cosine to prompts, on the "
    "embeddings of the first package that has any; repeatable.",
)
@click.option(
    "--probe-data",
    type=click.Path(path_type=Path),
    help="Other data with labels, on which the linear probe is fitted.",
)
@click.option("--safe-prompt", "safe_prompts", multiple=True, help="For prompts; repeatable.")
@click.option("--unsafe-prompt", "unsafe_prompts", multiple=True, help="For prompts; repeatable.")
@click.option(
    "--modality",
    type=click.Choice(["image", "text"]),
    help="Only these records. [default: all]",
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the intervals.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Of the bootstrap.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one per model.")
def moderation(
    data: Path,
    models: tuple[Path, ...],
    baselines: tuple[str, ...],
    probe_data: Path | None,
    safe_prompts: tuple[str, ...],
    unsafe_prompts: tuple[str, ...],
    modality: str | None,
    confidence: float,
    repeats: int,
    as_json: bool,
) -> None:
    """Measure packages on DATA: a folder with safe/ and unsafe/, or JSON lines with labels.

    Area under the ROC curve, FPR, FNR and accuracy at the package's own threshold, with intervals,
    overall and by tag. Undecided is neither safe nor unsafe, and no right answer. What cannot be
    judged is counted and named.
    """
    from edgesafe.calib.labelled import read_labelled
    from edgesafe.calib.moderation_figures import measure_figures
    from edgesafe.runtime.package import default_model_path, read_package

    if ("probe" in baselines) != (probe_data is not None):
        raise UsageError("--baseline probe and --probe-data go together")
    records = [r for r in read_labelled(data) if modality in (None, r.modality)]
    if not records:
        raise UsageError(f"{data} holds no {modality}s")
    training = read_labelled(probe_data) if probe_data else []
    packages = [read_package(path) for path in models or (default_model_path(),)]
    order: tuple[Modality, ...] = ("image", "text")
    for kind in order:
        chosen = [record for record in records if record.modality == kind]
        if not chosen:
            continue
        found: dict[str, Figures] = {}
        for package in packages:
            if getattr(package.manifest, kind) is None:
                click.echo(f"{package.path}: no {kind} encoder, left out", err=True)
                continue
            outcomes = _verdicts(package, chosen)
            found[package.manifest.identity] = measure_figures(
                outcomes, confidence=confidence, repeats=repeats
            )
        prompts = (safe_prompts, unsafe_prompts)
        fitting = [record for record in training if record.modality == kind]
        for name in dict.fromkeys(baselines):
            outcomes = _baseline(name, packages, kind, chosen, fitting, prompts)
            found[f"({name})"] = measure_figures(outcomes, confidence=confidence, repeats=repeats)
        _show(kind, found, as_json)


def _verdicts(package: Package, records: list[Labelled]) -> list[Outcome]:
    from edgesafe.calib.judged import judge_records, unjudged_report
    from edgesafe.calib.moderation_figures import Outcome
    from edgesafe.runtime.moderator import Moderator

    judged, unjudged = judge_records(Moderator(package), records)
    if unjudged:
        report = f"{package.manifest.identity}: {unjudged_report(unjudged)}"
        for line in report.splitlines():
            click.echo(printable(line, sys.stderr), err=True)
    decides = records[0].modality in package.manifest.thresholds
    return [
        Outcome(
            one.record.unsafe, one.record.tag, one.score, one.verdict.decision if decides else None
        )
        for one in judged
    ]


def _baseline(
    name: str,
    packages: list[Package],
    kind: Modality,
    records: list[Labelled],
    training: list[Labelled],
    prompts: tuple[tuple[str, ...], tuple[str, ...]],
) -> list[Outcome]:
    from edgesafe.calib.features import FeatureReader
    from edgesafe.calib.moderation_baselines import (
        SAFE_PROMPTS,
        UNSAFE_PROMPTS,
        linear_probe,
        prompt_cosine,
    )

    fitting = (p for p in packages if p.manifest.geometry and getattr(p.manifest, kind))
    package = next(fitting, None)
    if package is None:
        raise UsageError(
            f"--baseline {name} reads embeddings of {kind}s: name a --model that has them (a "
            "classifier has none)"
        )
    reader = FeatureReader(package)
    if name == "probe":
        if not training:
            raise UsageError(f"--probe-data holds no {kind}s")
        return linear_probe(reader, training, records)
    safe, unsafe = prompts
    return prompt_cosine(reader, records, safe or SAFE_PROMPTS, unsafe or UNSAFE_PROMPTS)


def _show(kind: str, found: dict[str, Figures], as_json: bool) -> None:
    if as_json:
        for name, figures in found.items():
            record: dict[str, Any] = {"model": name, "modality": kind, **figures.to_json()}
            click.echo(json.dumps(record))
        return
    first = next(iter(found.values()), None)
    if first is None:
        return
    click.echo(f"{kind}s: {first.safe} safe, {first.unsafe} unsafe")
    width = max(len(name) for name in found) + 2
    titles = "".join(f"{title:<20}" for title in _COLUMNS)
    click.echo(f"{'MODEL':<{width}}{titles}UNDECIDED")
    for name, one in found.items():
        share = "-" if one.undecided is None else f"{100 * one.undecided:.1f} %"
        cells = "".join(
            f"{_figure(value):<20}"
            for value in (one.auc, one.fnr_at_fpr, one.fpr, one.fnr, one.accuracy)
        )
        click.echo(printable(f"{name:<{width}}{cells}{share}", sys.stdout))
    for name, one in found.items():
        if one.tags:
            click.echo("")
            click.echo(printable(f"{name}, by tag", sys.stdout))
        for tag in one.tags:
            label, rate = ("unsafe", "FNR") if tag.unsafe else ("safe", "FPR")
            line = (
                f"  {tag.tag:<24}{label:<8}{tag.n:>6}  AUC {_figure(tag.auc):<20}"
                f"{rate} {_figure(tag.wrong)}"
            )
            click.echo(printable(line, sys.stdout))
    click.echo("")


def _figure(value: Figure | None) -> str:
    if value is None:
        return "-"
    low, high = value.interval
    return f"{value.value:.3f} {low:.3f}-{high:.3f}"
