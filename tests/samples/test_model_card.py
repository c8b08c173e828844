"""The report card is made from its JSON file alone, and the documents show what it says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from edgesafe.runtime.errors import DataError
from edgesafe.samples import model_card

ROOT = Path(__file__).parents[2]


def measured(value: float, n: int = 200) -> dict[str, Any]:
    return {"value": value, "interval": [value - 0.03, value + 0.02], "n": n}


def baseline(value: float) -> dict[str, Any]:
    return {"auc": value, "interval": [value - 0.04, value + 0.04]}


@pytest.fixture
def card() -> dict[str, Any]:
    threshold = {
        "value": 0.61234,
        "interval": [0.6, 0.63],
        "n": 471,
        "rule": "largest share of 0.05",
    }
    return {
        "package": "probe@2#0123456789ab",
        "bytes": 35_000_000,
        "thresholds": {
            "text": threshold,
            "image": {**threshold, "band": {"lower": 0.61234, "upper": 0.75}},
        },
        "bounds": {"safe_text": {"avg": 0.301, "low_05": 0.2, "up_95": 0.4}},
        "intended_use": "Shows the machinery.",
        "limits": ["It knows four tags.", "English only."],
        "heldout": {
            "image": {
                "auc": measured(0.871),
                "auc_plain": measured(0.881),
                "auc_lookalike": measured(0.861),
                "fpr_plain": measured(0.051, 120),
                "fpr_lookalike": measured(0.091, 120),
                "miss_rate": measured(0.331, 240),
                "undecided_plain": measured(0.151, 120),
                "undecided_lookalike": measured(0.251, 120),
                "undecided_hazard": measured(0.351, 240),
                "photos": 17,
                "auc_by_tag": {"blood": 0.811, "fire": 0.911},
                "auc_by_style": {"comic": 0.821, "mesh": 0.921},
                "auc_by_size": {"20% to 30%": 0.761},
            },
            "text": {
                "auc": measured(0.971),
                "auc_hard": measured(0.941),
                "fpr": measured(0.041),
                "miss_rate": measured(0.121),
            },
            "mean_radius": {
                "safe_text": 0.311,
                "safe_image": 0.511,
                "unsafe_text": 0.611,
                "unsafe_image": 0.711,
            },
        },
        "baselines": {
            "linear_probe": {"image": baseline(0.641), "text": baseline(0.931)},
            "prompt_cosine": {"image": baseline(0.541), "text": baseline(0.741)},
        },
    }


@pytest.fixture
def bench() -> dict[str, Any]:
    return {
        "machine": {"processor": "Probe 3000", "cores": 2},
        "image": {"stages": {"total": {"p50": 12.34, "p99": 23.45}}, "cpu": {"mean": 21.21}},
        "cold_start_s": 0.678,
        "soak": {"images": 10000, "peak_mib": 233.4, "growth_mib_per_10000": 0.25},
    }


def cells(page: str, first: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_measurement_is_on_the_page(card: dict[str, Any]) -> None:
    page = model_card.render(card)
    assert "`probe@2#0123456789ab`, 35.0 MB. Shows the machinery." in page
    assert cells(page, "**images**")[2] == "0.871 (0.841 to 0.891)"
    assert cells(page, "**texts**")[2] == "0.971 (0.941 to 0.991)"
    assert cells(page, "plain photos flagged")[1:] == ["0.051 (0.021 to 0.071)", "120"]
    assert cells(page, "photos with a look-alike flagged")[1].startswith("0.091")
    assert cells(page, "photos with a hazard missed")[1:] == ["0.331 (0.301 to 0.351)", "240"]
    undecided = [line for line in page.splitlines() if line.startswith("| … undecided |")]
    assert [line.split()[4] for line in undecided] == ["0.151", "0.251", "0.351"]
    assert cells(page, "text")[1] == "0.6123"
    assert cells(page, "image")[1] == "0.6123; undecided up to 0.7500"
    assert cells(page, "safe text") == ["safe text", "0.311", "0.301 (0.200 to 0.400)"]
    assert cells(page, "unsafe image") == ["unsafe image", "0.711", "-"]
    assert cells(page, "mesh")[1] == "0.921" and cells(page, "blood")[1] == "0.811"
    assert cells(page, "20% to 30%")[1] == "0.761"
    for value in (0.641, 0.931, 0.541, 0.741, 0.881, 0.861, 0.941):
        assert f"{value:.3f} (" in page
    assert "17 other photos" in page
    assert "* It knows four tags.\n* English only.\n" in page


def test_the_order_of_the_classes_is_stated_as_it_is(card: dict[str, Any]) -> None:
    assert "That order holds here." in model_card.render(card)
    other = copy.deepcopy(card)
    other["heldout"]["mean_radius"]["safe_image"] = 0.65
    assert "That order does not hold here." in model_card.render(other)


def test_tables_are_well_formed(card: dict[str, Any], bench: dict[str, Any]) -> None:
    for text in (model_card.render(card), model_card.numbers(card, bench)):
        for block in text.split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) <= 1, block
    assert not model_card.render(card).endswith("\n\n")


def test_the_numbers_of_the_readme(card: dict[str, Any], bench: dict[str, Any]) -> None:
    block = model_card.numbers(card, bench)
    assert cells(block, "AUC, images never trained on")[1] == "0.871 (0.841 to 0.891)"
    assert "0.641, 0.541" in block and "0.931, 0.741" in block
    assert cells(block, "image from a JPEG, batch 1")[1] == "12.3 ms p50, 23.4 ms p99"
    assert cells(block, "… CPU time")[1] == "21.2 ms"
    assert cells(block, "memory over 10,000 images")[1] == "peak 233 MiB, +0.2 MiB per 10,000"
    assert "Probe 3000, 2 cores" in block
    assert "docs/moderation-model.md" in block


def test_nothing_is_made_up_where_nothing_was_measured(
    card: dict[str, Any], bench: dict[str, Any]
) -> None:
    assert model_card.numbers(None, None) == "_Not measured yet._"
    assert "AUC" not in model_card.numbers(None, bench)
    assert "cold start" not in model_card.numbers(card, None)
    bench["soak"] = None
    assert "memory" not in model_card.numbers(None, bench)


def test_only_the_block_of_a_document_is_replaced() -> None:
    document = f"before\n{model_card.BEGIN}\nold\n{model_card.END}\nafter\n"
    found = model_card.replace_block(document, "new")
    assert found == f"before\n{model_card.BEGIN}\nnew\n{model_card.END}\nafter\n"
    assert model_card.replace_block(found, "new") == found


@pytest.mark.parametrize(
    "document", ["", model_card.BEGIN, f"{model_card.END}{model_card.BEGIN}", "{0}{1}{0}{1}"]
)
def test_a_document_without_its_place_is_refused(document: str) -> None:
    with pytest.raises(DataError, match="numbers: begin"):
        model_card.replace_block(document.format(model_card.BEGIN, model_card.END), "new")


def test_all_files_come_from_the_json_files(
    tmp_path: Path, card: dict[str, Any], bench: dict[str, Any]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "README.md").write_text(f"{model_card.BEGIN}\n{model_card.END}\n", encoding="utf-8")
    model_card.write(tmp_path)
    assert "Not measured yet" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert not (docs / "moderation-model.md").exists()
    (docs / "moderation-model.json").write_text(json.dumps(card), encoding="utf-8")
    (docs / "bench.json").write_text(json.dumps(bench), encoding="utf-8")
    model_card.write(tmp_path)
    page = (docs / "moderation-model.md").read_text(encoding="utf-8")
    assert page == model_card.render(card)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert model_card.numbers(card, bench) in readme


def test_the_documents_of_the_project_are_up_to_date() -> None:
    docs = ROOT / "docs"
    found = {
        name: json.loads((docs / f"{name}.json").read_text(encoding="utf-8"))
        if (docs / f"{name}.json").is_file()
        else None
        for name in ("moderation-model", "bench")
    }
    card = found["moderation-model"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert model_card.replace_block(readme, model_card.numbers(card, found["bench"])) == readme
    if card is not None:
        page = (docs / "moderation-model.md").read_text(encoding="utf-8")
        assert page == model_card.render(card)
