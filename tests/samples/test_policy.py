"""The report card against numbers counted by hand, and both commands on the tiny package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.statistics import auc_between
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.thresholds import Band, Threshold
from edgesafe.samples.policy import Scored, main, report_card

ColourPng = Callable[..., bytes]


def scored(radius: float, label: str, kind: str, **fields: Any) -> Scored:
    return Scored({"label": label, "kind": kind, **fields}, radius)


IMAGES = [
    *(scored(r, "safe", "plain", photo=f"p{i}", image="x") for i, r in enumerate((1, 2, 3, 4))),
    *(scored(r, "safe", "lookalike", photo="p0", style="flat") for r in (5.0, 7.0)),
    scored(6.0, "unsafe", "hazard", photo="p0", tag="fire", style="flat", scale=0.25),
    scored(8.0, "unsafe", "hazard", photo="p1", tag="fire", style="comic", scale=0.3),
    scored(3.5, "unsafe", "hazard", photo="p1", tag="blood", style="comic", scale=0.2),
    scored(9.0, "unsafe", "hazard", photo="p4", tag="drugs", style="flat", scale=0.45),
]
TEXTS = [
    scored(1.0, "safe", "easy"),
    scored(4.0, "safe", "hard"),
    scored(2.0, "safe", "hard"),
    scored(3.0, "unsafe", "caption"),
    scored(5.0, "unsafe", "caption"),
]


KINDS = ("plain", "lookalike", "hazard")


def limit(value: float, band: Band | None = None) -> Threshold:
    return Threshold(value, (value, value), 0.95, 9, None, None, "by hand", "0" * 64, band=band)


def test_report_card() -> None:
    card = report_card(IMAGES, TEXTS, {"image": limit(5.0), "text": limit(3.0)})
    image, text = card["image"], card["text"]
    # 24 pairs: the hazard at 6 loses to the look-alike at 7, that at 3.5 to 4, 5 and 7.
    assert image["auc"]["value"] == pytest.approx(20 / 24) and image["auc"]["n"] == 10
    assert image["auc_plain"]["value"] == pytest.approx(15 / 16)
    assert image["auc_lookalike"]["value"] == pytest.approx(5 / 8)
    assert (image["fpr_plain"]["value"], image["fpr_plain"]["n"]) == (0, 4)
    assert image["fpr_lookalike"]["value"] == 0.5  # a score at the threshold passes
    assert image["miss_rate"]["value"] == 0.25
    assert [image[f"undecided_{kind}"]["value"] for kind in KINDS] == [0, 0, 0]
    assert image["photos"] == 5
    assert image["auc_by_tag"] == pytest.approx({"blood": 0.5, "drugs": 1.0, "fire": 11 / 12})
    assert image["auc_by_style"] == pytest.approx({"comic": 9 / 12, "flat": 11 / 12})
    by_size = {"20% to 30%": 8 / 12, "30% to 40%": 1.0, "40% to 50%": 1.0}
    assert image["auc_by_size"] == pytest.approx(by_size)
    assert text["auc"]["value"] == pytest.approx(5 / 6)
    assert text["auc_hard"]["value"] == pytest.approx(3 / 4)
    assert text["fpr"]["value"] == pytest.approx(1 / 3) and text["fpr"]["n"] == 3
    assert text["miss_rate"]["value"] == 0.5
    assert card["mean_radius"] == pytest.approx(
        {"safe_text": 7 / 3, "safe_image": 22 / 6, "unsafe_text": 4.0, "unsafe_image": 26.5 / 4}
    )
    for entry in (*image.values(), *text.values()):
        if isinstance(entry, dict) and "interval" in entry:
            low, high = entry["interval"]
            assert 0 <= low <= entry["value"] <= high <= 1
    json.dumps(card)


def test_what_lies_in_the_band_is_undecided() -> None:
    limits = {"image": limit(3.0, Band(3.0, 7.0)), "text": limit(3.0)}
    image = report_card(IMAGES, TEXTS, limits)["image"]
    # Plain 1, 2, 3 and 4; look-alikes 5 and 7; hazards 3.5, 6, 8 and 9.
    assert [image[f"undecided_{kind}"]["value"] for kind in KINDS] == [0.25, 1, 0.5]
    assert image["fpr_plain"]["value"] == image["fpr_lookalike"]["value"] == 0
    assert image["miss_rate"]["value"] == 0 and image["undecided_hazard"]["n"] == 4


def test_auc_counts_ties_half() -> None:
    assert auc_between(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(3.5 / 4)


@pytest.fixture
def listing(tmp_path: Path, colour_png: ColourPng) -> Path:
    """Greens and blues are safe, reds are unsafe; pinks are look-alikes in between."""
    records: list[dict[str, Any]] = []

    def add(colour: tuple[int, int, int], **fields: Any) -> None:
        name = f"{len(records)}.png"
        (tmp_path / name).write_bytes(colour_png(colour))
        records.append({"image": name, "photo": name, **fields})

    for level in range(20, 250, 3):
        add((0, level, 30), label="safe", kind="plain")
        add((60, 30, level), label="safe", kind="lookalike", style="flat")
        add((150 + level // 3, 20, 0), label="unsafe", kind="hazard", tag="fire", style="flat")
    path = tmp_path / "images.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    safe = ("a photo of a dog", "a dog and the dog", "the photo")
    records = [{"text": t, "label": "safe", "kind": "hard"} for t in safe]
    records += [{"text": f"{t} a knife", "label": "unsafe", "kind": "caption"} for t in safe]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_thresholds(tiny_package: Path, listing: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "thresholds.json"
    result = run("thresholds", tiny_package, "--listing", listing, "--listing", texts, "--out", out)
    assert result.exit_code == 0, result.output
    chosen = json.loads(out.read_text())
    assert set(chosen) == {"image", "text"}
    for threshold in chosen.values():
        assert threshold["fpr"]["value"] == 0
        assert threshold["interval"][0] <= threshold["value"] <= threshold["interval"][1]
    # Of texts the share of false alarms is bounded, of pictures both shares.
    assert chosen["text"]["miss_rate"]["value"] == 0
    assert 0 < chosen["image"]["miss_rate"]["value"] < chosen["image"]["max_miss"] == 0.2
    # Look-alikes are no part of the choice: 77 plain pictures and 77 hazards.
    assert chosen["image"]["n"] == 154 and chosen["text"]["n"] == 6
    assert "image: " in result.output and "fpr 0.000  miss 0.000" in result.output.splitlines()[1]


def test_report(tiny_package: Path, listing: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    result = run("report", tiny_package, "--listing", listing, "--texts", texts, "--out", out)
    assert result.exit_code == 0, result.output
    card = json.loads(out.read_text())
    assert card == json.loads(result.output)
    assert card["image"]["auc"]["value"] == 1 and card["text"]["auc"]["value"] == 1
    # The thresholds are those of the package, 0.5.
    assert card["image"]["fpr_plain"]["value"] == 0 and card["image"]["miss_rate"]["value"] == 0
    assert card["image"]["auc_by_tag"] == {"fire": 1.0} and card["image"]["photos"] == 231


def test_what_cannot_be_judged_stops_the_measurement(
    tiny_package: Path, listing: Path, texts: Path, tmp_path: Path
) -> None:
    (tmp_path / "4.png").write_bytes(b"no picture")
    result = run("report", tiny_package, "--listing", listing, "--texts", texts, "--out", "unused")
    assert isinstance(result.exception, DataError)
    assert "4.png could not be judged: " in str(result.exception)
