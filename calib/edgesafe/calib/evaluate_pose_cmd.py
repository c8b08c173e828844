"""``edgesafe evaluate pose``: poses of a package, or of a result file, against the truth."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgesafe.runtime.backends.base import BACKENDS
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.finite_range import FiniteRange
from edgesafe.runtime.output import printable

if TYPE_CHECKING:
    from edgesafe.calib.bop import BopDataset
    from edgesafe.calib.pose_evaluation import PoseRun

__all__ = ["pose"]

_HEADER = (
    f"{'OBJECT':<16}{'TARGETS':>8}{'POSES':>7}{'REFUSED':>9}  {'ADD(-S)<0.1d':<22}"
    f"{'AUC':>6}{'AR MSSD':>9}{'AR MSPD':>9}{'ANGLE':>9}{'SHIFT':>9}"
)


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Pose package. [default: the one that comes with edgesafe]",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Judge this result file of BOP instead of a package.",
)
@click.option(
    "--roi",
    type=click.Choice(["truth", "detector"]),
    help="Where to look for an object: at its bbox_visib, or where the package detects it. "
    "[default: truth]",
)
@click.option(
    "--refine/--no-refine",
    default=True,
    show_default=True,
    help="Fit poses to outlines, where the package has outlines.",
)
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), help="Write the poses as BOP does."
)
@click.option("--split", help="Split of the data set. [default: test, or the only one]")
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
    help="Only the frames of this list, or of a folder of lists.",
)
@click.option("--not-in", is_flag=True, help="All frames but those of --split-file.")
@click.option("--objects", metavar="ID,ID...", help="Only these objects. [default: all known]")
@click.option(
    "--min-visib",
    type=FiniteRange(0, 1),
    default=0.1,
    show_default=True,
    help="Least visible share of an object that counts.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only N frames, spread evenly."
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the report to this file.")
def pose(
    dataset: Path,
    model: Path | None,
    results: Path | None,
    roi: Literal["truth", "detector"] | None,
    refine: bool,
    csv_path: Path | None,
    split: str | None,
    split_file: Path | None,
    not_in: bool,
    objects: str | None,
    min_visib: float,
    limit: int | None,
    backend: str,
    threads: int | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compare the poses of a package with those of a BOP data set.

    Prints, per object and over all, the share of targets with ADD(-S) below a tenth of the
    diameter, the AUC of ADD(-S) up to 100 mm, the average recalls of MSSD and MSPD as in the BOP
    Challenge, and the medians of angle and distance of the poses that were given. A target without
    a pose counts as wrong. Intervals are 95 % bootstraps over frames.
    """
    if results is not None and (model or roi or csv_path):
        raise UsageError("--results has its poses already: leave out --model, --roi and --csv")
    if not_in and split_file is None:
        raise UsageError("--not-in goes with --split-file")
    from edgesafe.calib.bop import BopDataset, read_split
    from edgesafe.calib.pose_evaluation import compare, eval_models
    from edgesafe.calib.pose_scores import score
    from edgesafe.runtime.files import atomic_write, check_writable
    from edgesafe.runtime.pose.bop_csv import write_results

    for option, path in (("--out", out), ("--csv", csv_path)):
        if path is not None:
            check_writable(path, option)
    data = BopDataset.open(dataset, split, prefer="test")
    if split_file is not None:
        data = data.subset(read_split(split_file), complement=not_in)
    if limit is not None:
        data = data.thinned(limit)
    if data.missing:
        _say(f"{len(data.missing)} annotated pictures are not there; they do not count")
    ids = _ids(objects, data)
    data.models("eval")  # missing meshes are told before the frames are looked at
    if results is not None:
        head, run = {"results": str(results)}, _of_file(results)
    else:
        head, run = _of_package(
            data, ids, model, roi or "truth", min_visib, backend, threads, refine=refine
        )
        ids = sorted(run.refused)
        if csv_path is not None:
            write_results(csv_path, run.lines)
    targets = compare(data, eval_models(data, ids), run.estimates, min_visib=min_visib)
    by_object, pooled, mean = score(targets)
    report = {
        "dataset": str(data.path),
        "split": data.split,
        "frames": len(data.frames),
        "min_visib": min_visib,
        **head,
        "objects": {
            str(obj_id): {**scores.to_json(), "refused": dict(run.refused.get(obj_id, {}))}
            for obj_id, scores in by_object.items()
        },
        "pooled": pooled.to_json(),
        "mean": mean.to_json(),
    }
    text = json.dumps(report, allow_nan=False)
    if out is not None:
        atomic_write(out, f"{text}\n".encode())
    click.echo(text if as_json else "\n".join(_lines(report)))


def _ids(text: str | None, data: BopDataset) -> list[int]:
    if text is None:
        return data.objects
    try:
        wanted = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise UsageError(f"--objects {text!r}: write numbers as in 1,5,6") from None
    unknown = sorted(set(wanted) - set(data.objects))
    if unknown:
        raise UsageError(
            f"--objects: {_numbers(unknown)} are in no frame; there are {_numbers(data.objects)}"
        )
    return wanted


def _of_file(path: Path) -> PoseRun:
    from edgesafe.calib.bop.results import read_results
    from edgesafe.calib.pose_evaluation import PoseRun

    return PoseRun(read_results(path), (), {}, {})


def _of_package(
    data: BopDataset,
    ids: list[int],
    model: Path | None,
    roi: Literal["truth", "detector"],
    min_visib: float,
    backend: str,
    threads: int | None,
    *,
    refine: bool,
) -> tuple[dict[str, Any], PoseRun]:
    from edgesafe.calib.pose_evaluation import estimate_poses
    from edgesafe.runtime.pose.estimator import PoseEstimator

    estimator = PoseEstimator.load(model, backend=backend, threads=threads)
    identity = estimator.manifest.identity
    if roi == "detector" and not estimator.has_detector:
        raise UsageError(f"{identity} has no detector: use --roi truth")
    names = {obj_id: entry.name for obj_id, entry in estimator.objects.items()}
    known = [obj_id for obj_id in ids if obj_id in names]
    if not known:
        raise UsageError(
            f"{identity} knows the objects {_numbers(names)}, the frames show {_numbers(ids)}: "
            "they have none in common"
        )
    if len(known) < len(ids):
        unknown = sorted(set(ids) - set(known))
        _say(f"{identity} does not know the objects {_numbers(unknown)}; they do not count")
    with click.progressbar(length=len(data.frames), label="poses", file=sys.stderr) as bar:
        run = estimate_poses(
            estimator,
            data,
            known,
            roi=roi,
            min_visib=min_visib,
            refine=refine,
            progress=lambda done: bar.update(done - bar.pos),
        )
    head = {
        "package": identity,
        "roi": roi,
        "refined": run.refined,
        "names": {str(obj_id): names[obj_id] for obj_id in known},
        "ms": {stage: round(value, 3) for stage, value in run.ms.items()},
    }
    return head, run


def _lines(report: dict[str, Any]) -> Iterator[str]:
    what = report.get("package") or report["results"]
    yield _clean(f"{what}" + (f", roi {report['roi']}" if "roi" in report else ""))
    yield _clean(
        f"{report['dataset']}, split {report['split']}: {report['frames']} frames, "
        f"{report['pooled']['targets']} targets with a visible share of {report['min_visib']:g} "
        "or more"
    )
    yield ""
    yield _HEADER
    names = report.get("names", {})
    for number, scores in report["objects"].items():
        name = f"{number} {names.get(number, '')}"
        yield _row(_clean(name), scores, sum(scores["refused"].values()))
    refused = sum(sum(scores["refused"].values()) for scores in report["objects"].values())
    yield _row("mean of objects", report["mean"], refused)
    yield _row("all targets", report["pooled"], refused)
    yield ""
    yield (
        "ADD(-S): ADD-S for objects with symmetries. AUC: of ADD(-S) up to 100 mm. All of these "
        "in %."
    )
    yield "ANGLE, SHIFT: medians in degrees and mm, to the nearest symmetry, of the poses given."
    reasons: Counter[str] = Counter()
    for scores in report["objects"].values():
        reasons.update(scores["refused"])
    if reasons:
        yield "refused: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    if report.get("refined"):
        yield f"fitted to outlines: {report['refined']} poses"
    if "ms" in report:
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in report["ms"].items())
        yield f"ms per frame: {stages}"


def _row(name: str, scores: dict[str, Any], refused: int) -> str:
    low, high = (100 * end for end in scores["recall"]["interval"])
    recall = f"{100 * scores['recall']['value']:5.1f} ({low:.1f} to {high:.1f})"
    shares = (100 * scores[name]["value"] for name in ("auc", "ar_mssd", "ar_mspd"))
    auc, ar_mssd, ar_mspd = shares
    angle, shift = (
        "-" if value is None else f"{value:.1f}"
        for value in (scores["median_rotation_deg"], scores["median_translation_mm"])
    )
    return (
        f"{name[:15]:<16}{scores['targets']:>8}{scores['found']:>7}{refused:>9}  {recall:<22}"
        f"{auc:6.1f}{ar_mssd:9.1f}{ar_mspd:9.1f}{angle:>9}{shift:>9}"
    )


def _numbers(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids)))


def _say(message: str) -> None:
    click.echo(f"edgesafe: {message}", err=True)


def _clean(text: str) -> str:
    """Show control characters of names as escapes."""
    return printable(text, sys.stdout)
