"""The report card of the embedded model: one JSON file, and what people read made from it.

    python -m edgesafe.samples.model_card --package PKG --report R --baselines B
    python -m edgesafe.samples.model_card

Writes ``docs/moderation-model.json`` from measurements, then ``docs/moderation-model.md`` and the
numbers of README.md from that file alone; without options only the latter. What `edgesafe bench
--json` printed joins them where it is kept as ``docs/bench.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edgesafe.cli import run
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.files import atomic_write
from edgesafe.runtime.manifest import Manifest
from edgesafe.runtime.package import read_package

Json = Mapping[str, Any]

ROOT = Path(__file__).resolve().parents[3]
CARD = "moderation-model"
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"
BASELINES = ("linear_probe", "prompt_cosine")
CLASSES = ("safe_text", "safe_image", "unsafe_text", "unsafe_image")
_DATA = (
    "There are no unsafe photos in this data. Harmless photos with free licences got a counterpart "
    "each, into which a hazard of one of four tags (weapon, fire, blood, drugs) was drawn or "
    "rendered, and both got a caption. The numbers below were measured on {photos} other photos, "
    "with drawings by another program in styles of its own, and on texts written apart; the "
    "thresholds were chosen on neither. [moderation-data.md](moderation-data.md) tells how all of "
    "it is made, and which choices of the "
    "[shipped weights](moderation-data.md#the-shipped-weights) were made with the test in view. "
    "The intervals are those of this test set: photos from elsewhere may differ by "
    "more."
)


def gather(report: Json, baselines: Json, manifest: Manifest) -> dict[str, Any]:
    """Put together what is measured on the held-out data and what the package says of itself.

    Args:
        report: Of `edgesafe.samples.policy report`.
        baselines: Of `edgesafe.samples.baselines`.
        manifest: Of the measured package.
    """
    return {
        "package": manifest.identity,
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "thresholds": manifest.raw["thresholds"],
        "bounds": manifest.raw["bounds"],
        "intended_use": manifest.intended_use,
        "limits": list(manifest.limits),
        "heldout": report,
        "baselines": baselines,
    }


def render(card: Json) -> str:
    """The page for a person, in Markdown."""
    image, text = card["heldout"]["image"], card["heldout"]["text"]
    lines = [
        "# The embedded moderation model",
        "",
        f"<!-- Made from {CARD}.json by `python -m edgesafe.samples.model_card`; edit neither. -->",
        "",
        f"Package `{card['package']}`, {card['bytes'] / 1e6:.1f} MB. {card['intended_use']}",
        "",
        _DATA.format(photos=image["photos"]),
        "",
        "## How well the root distance tells safe from unsafe",
        "",
        "Area under the ROC curve with its 95 % interval; 0.5 is chance. The baselines use the "
        "same towers before training: logistic regression on their frozen, globally pooled "
        'features, fitted on the training data, and the cosine to "unsafe" prompts minus that to '
        '"safe" prompts.',
        "",
        *_auc_table(card),
        "",
        *_table(
            ("against the hazards", "AUC"),
            [
                ("plain photos alone", _measured(image["auc_plain"])),
                ("look-alikes alone", _measured(image["auc_lookalike"])),
                ("tricky harmless texts alone", _measured(text["auc_hard"])),
            ],
        ),
        "",
        "## At the thresholds of the package",
        "",
        *_table(("", "threshold", "interval", "chosen on"), _thresholds(card["thresholds"])),
        "",
        *_table(
            ("held-out", "rate", "of"),
            [
                _rate("plain photos flagged", image["fpr_plain"]),
                _rate("… undecided", image["undecided_plain"]),
                _rate("photos with a look-alike flagged", image["fpr_lookalike"]),
                _rate("… undecided", image["undecided_lookalike"]),
                _rate("photos with a hazard missed", image["miss_rate"]),
                _rate("… undecided", image["undecided_hazard"]),
                _rate("safe texts flagged", text["fpr"]),
                _rate("unsafe texts missed", text["miss_rate"]),
            ],
        ),
        "",
        "## Where the four classes lie",
        "",
        _order(card["heldout"]["mean_radius"]),
        "",
        *_table(
            ("", "mean distance from the root, held-out", "training: mean (5 % to 95 %)"),
            [
                (
                    name.replace("_", " "),
                    f"{card['heldout']['mean_radius'][name]:.3f}",
                    _bounds(card["bounds"].get(name)),
                )
                for name in CLASSES
            ],
        ),
        "",
        "## By tag, drawing style and size",
        "",
        "AUC of the pictures with such a hazard against all safe ones. The size is the longer side "
        "of the drawing as a share of the picture's short side.",
        "",
        *_table(("tag", "AUC"), [(k, f"{v:.3f}") for k, v in image["auc_by_tag"].items()]),
        "",
        *_table(("style", "AUC"), [(k, f"{v:.3f}") for k, v in image["auc_by_style"].items()]),
        "",
        *_table(("size", "AUC"), [(k, f"{v:.3f}") for k, v in image["auc_by_size"].items()]),
        "",
        "## What it cannot do",
        "",
        *(f"* {limit}" for limit in card["limits"]),
    ]
    return "\n".join(lines) + "\n"


def numbers(card: Json | None, bench: Json | None) -> str:
    """The block of README.md between its two marks, without them.

    Args:
        card: Of `gather`; None where nothing was measured yet.
        bench: What ``edgesafe bench --json`` printed; None where it was not kept.
    """
    rows: list[Sequence[str]] = []
    if card is not None:
        image, text = card["heldout"]["image"], card["heldout"]["text"]
        made = "`make models`"
        rows += [
            ("AUC, images never trained on", _measured(image["auc"]), made),
            ("… linear probe, prompt cosine", _baselines(card, "image"), made),
            ("AUC, texts never trained on", _measured(text["auc"]), made),
            ("… linear probe, prompt cosine", _baselines(card, "text"), made),
            ("plain photos flagged", _measured(image["fpr_plain"]), made),
            ("… undecided", _measured(image["undecided_plain"]), made),
            ("photos with a look-alike flagged", _measured(image["fpr_lookalike"]), made),
            ("… undecided", _measured(image["undecided_lookalike"]), made),
            ("photos with a hazard missed", _measured(image["miss_rate"]), made),
            ("… undecided", _measured(image["undecided_hazard"]), made),
            ("size of the package", f"{card['bytes'] / 1e6:.1f} MB", "`edgesafe inspect`"),
        ]
    if bench is not None:
        rows += _bench_rows(bench)
    lines = list(_table(("sample model", "measured", "by"), rows)) if rows else []
    if card is not None:
        lines += ["", f"The whole report card is [docs/{CARD}.md](docs/{CARD}.md)."]
    if bench is not None:
        machine = bench["machine"]
        lines += ["", f"Times on {machine['processor']}, {machine['cores']} cores."]
    return "\n".join(lines) if lines else "_Not measured yet._"


def replace_block(document: str, block: str) -> str:
    """Return the document with another block between its marks.

    Raises:
        DataError: The marks are not there once each, in their order.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end) or BEGIN in tail or END in tail:
        raise DataError(f"the document needs one {BEGIN} and after it one {END}")
    return f"{head}{BEGIN}\n{block}\n{END}{tail}"


def write(root: Path) -> None:
    """Make the page and README's numbers from the JSON files of ``docs``.

    Raises:
        DataError: README.md has no place for the numbers.
    """
    docs, readme = root / "docs", root / "README.md"
    card, bench = _read(docs / f"{CARD}.json"), _read(docs / "bench.json")
    if card is not None:
        atomic_write(docs / f"{CARD}.md", render(card).encode())
    found = replace_block(readme.read_text(encoding="utf-8"), numbers(card, bench))
    atomic_write(readme, found.encode())


def _read(path: Path) -> Json | None:
    if not path.is_file():
        return None
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): make it again") from error
    return found


def _auc_table(card: Json) -> list[str]:
    rows: list[Sequence[str]] = []
    for kind in ("image", "text"):
        own = _measured(card["heldout"][kind]["auc"])
        rows.append((f"**{kind}s**", "this model, root distance", own))
        for key in BASELINES:
            entry = card["baselines"][key][kind]
            found = {"value": entry["auc"], "interval": entry["interval"]}
            rows.append(("", key.replace("_", " "), _measured(found)))
    return _table(("", "score", "AUC"), rows)


def _thresholds(thresholds: Json) -> list[Sequence[str]]:
    return [
        (
            kind,
            _cut(entry),
            f"{entry['interval'][0]:.4f} to {entry['interval'][1]:.4f}",
            f"{entry['n']} cases: {entry['rule']}",
        )
        for kind, entry in sorted(thresholds.items())
    ]


def _cut(entry: Json) -> str:
    band = entry.get("band")
    if band is None:
        return f"{entry['value']:.4f}"
    return f"{band['lower']:.4f}; undecided up to {band['upper']:.4f}"


def _order(means: Json) -> str:
    ordered = [means[name] for name in CLASSES]
    holds = all(a < b for a, b in zip(ordered, ordered[1:], strict=False))
    wanted = "safe text < safe image < unsafe text < unsafe image"
    return f"Training aims at {wanted}. That order {'holds' if holds else 'does not hold'} here."


def _bounds(entry: Json | None) -> str:
    if entry is None:
        return "-"
    return f"{entry['avg']:.3f} ({entry['low_05']:.3f} to {entry['up_95']:.3f})"


def _measured(entry: Json) -> str:
    low, high = entry["interval"]
    return f"{entry['value']:.3f} ({low:.3f} to {high:.3f})"


def _baselines(card: Json, kind: str) -> str:
    return ", ".join(f"{card['baselines'][key][kind]['auc']:.3f}" for key in BASELINES)


def _rate(name: str, entry: Json) -> Sequence[str]:
    return name, _measured(entry), str(entry["n"])


def _bench_rows(bench: Json) -> list[Sequence[str]]:
    by, image = "`edgesafe bench`", bench["image"]
    total = image["stages"]["total"]
    rows: list[Sequence[str]] = [
        (
            "image from a JPEG, batch 1",
            f"{total['p50']:.1f} ms p50, {total['p99']:.1f} ms p99",
            by,
        ),
        ("… CPU time", f"{image['cpu']['mean']:.1f} ms", by),
        ("cold start to the first verdict", f"{bench['cold_start_s']:.2f} s", by),
    ]
    soak = bench.get("soak")
    if soak:
        growth = soak["growth_mib_per_10000"]
        rows.append(
            (
                f"memory over {soak['images']:,} images",
                f"peak {soak['peak_mib']:.0f} MiB, {growth:+.1f} MiB per 10,000",
                f"`edgesafe bench --soak {soak['images']}`",
            )
        )
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


@click.command()
@click.option("--package", type=click.Path(exists=True, path_type=Path), help="Measured package.")
@click.option("--report", type=click.Path(exists=True, path_type=Path), help="Of `policy report`.")
@click.option("--baselines", type=click.Path(exists=True, path_type=Path), help="Their numbers.")
@click.option("--root", default=ROOT, type=click.Path(path_type=Path), help="The checkout.")
def main(package: Path | None, report: Path | None, baselines: Path | None, root: Path) -> None:
    """Write the report card, and from it the page and README's numbers."""
    if package and report and baselines:
        manifest = read_package(package, allow_hard_links=True).manifest
        card = gather(_read(report) or {}, _read(baselines) or {}, manifest)
        data = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        atomic_write(root / "docs" / f"{CARD}.json", data.encode())
    elif package or report or baselines:
        raise click.UsageError("--package, --report and --baselines belong together")
    write(root)
    click.echo(root / "docs" / f"{CARD}.md")


if __name__ == "__main__":
    run(main)
