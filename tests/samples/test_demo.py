"""The demo: what it judges, what it prints, and that the report stands on its own."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgesafe.runtime import Moderator, default_model_path
from edgesafe.runtime.errors import DataError, SourceError
from edgesafe.runtime.thresholds import Band
from edgesafe.samples import demo as demo_module
from edgesafe.samples.axis import axis_svg, make_scale
from edgesafe.samples.demo import demo, read_photos
from edgesafe.samples.report import Item, agreement

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements with their attributes, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, kind: str | None = None) -> list[dict[str, str | None]]:
        return [
            a for t, a in self.elements if t == tag and (not kind or kind in (a.get("class") or ""))
        ]


@pytest.fixture
def run(
    data_folder: Path, tmp_path: Path, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Result, Page]:
    monkeypatch.setattr(Moderator, "load", lambda *args, **kwargs: moderator)
    monkeypatch.setattr(demo_module, "demo_poses", lambda *args: None)  # test_demo_poses.py
    out = tmp_path / "out" / "deep"
    result = CliRunner().invoke(demo, ["--data", str(data_folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result, Page((out / "report.html").read_text(encoding="utf-8"))


def test_the_last_line_is_the_path_of_the_report(run: tuple[Result, Page]) -> None:
    path = Path(run[0].stdout.splitlines()[-1])
    assert path.is_absolute() and path.is_file()


def test_the_table_has_a_line_for_everything_judged(run: tuple[Result, Page]) -> None:
    out = run[0].stdout
    for name in ("photo40.jpg", "photo110.jpg", "photo180.jpg", "photo60.jpg"):
        assert len(re.findall(rf"^(safe|unsafe|undecided) .*{name}", out, re.M)) == 1
    for name, _, _ in demo_module._BAD:
        assert re.search(rf"^undecided .*{re.escape(name)}", out, re.M), name
    assert "1 of 2 labelled unsafe flagged, 2 of 2 labelled safe passed" in out
    assert "limit: It judges brightness & nothing else." in out


def test_the_report_is_well_formed_and_loads_nothing(run: tuple[Result, Page]) -> None:
    page = run[1]
    assert page.stack == []
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), value
        assert not any(name.startswith("on") for name in attributes)
    style = Path(demo_module.__file__).with_name("report.css").read_text(encoding="utf-8")
    assert "url(" not in style and "@import" not in style
    policies = [a["content"] for a in page.all("meta") if a.get("http-equiv")]
    assert policies and str(policies[0]).startswith("default-src 'none'")


def test_the_report_shows_every_part(run: tuple[Result, Page]) -> None:
    page = run[1]
    assert len(page.all("img")) == 4
    cards = len(page.all("li", "card"))
    assert cards == 4 + len(demo_module._TEXTS) + len(demo_module._BAD)
    assert len(page.all("span", "badge")) == cards
    # A legend and one axis for each of the 4 photos and 7 texts with a radius.
    assert len(page.all("svg", "axis")) == 1 + 4 + 7
    assert len(page.all("path", "marker")) == 4 + 7
    for text in (
        'A "gradient" of <level> 40 & more',
        "an open <flame>",
        "3.2 + prepare 1.5 + infer 9.8 + post 0.5 = 15.0 ms",
        "A. Painter, CC0-1.0",
        "It judges brightness & nothing else.",
        "A notice with <angle> brackets.",
        "5.0% (2.0% to 11.0%, n = 120) of the safe photos",
        "Labelled unsafe: the model differs.",
        "truncated",
        "probe@3#abababababab",
    ):
        assert text in page.text, text


def test_nothing_depends_on_colour_or_sight_alone(run: tuple[Result, Page]) -> None:
    page = run[1]
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-label") for a in page.all("svg", "axis"))
    assert any("Radius 0.8" in str(a["aria-label"]) for a in page.all("svg", "axis"))
    for decision in ("safe", "unsafe", "undecided"):
        assert re.search(rf"\b{decision}\b", page.text)
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    references = {a["aria-labelledby"] for _, a in page.elements if a.get("aria-labelledby")}
    assert references <= set(ids)


def test_models_are_opened_before_the_clock_of_the_first_photo(
    run: tuple[Result, Page], moderator: Any
) -> None:
    assert moderator.prepared == ["image", "text"]


def test_a_package_without_text_is_shown_without_texts(
    data_folder: Path, tmp_path: Path, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moderator.manifest = dataclasses.replace(moderator.manifest, text=None)
    monkeypatch.setattr(Moderator, "load", lambda *args, **kwargs: moderator)
    result = CliRunner().invoke(demo, ["--data", str(data_folder), "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert moderator.prepared == ["image"]
    assert 'id="texts"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_photos_are_found_by_bare_name_too(data_folder: Path) -> None:
    listing = data_folder / "photos.jsonl"
    listing.write_text('\n{"image": "photo40.jpg", "caption": "one"}\n', encoding="utf-8")
    (photo,) = read_photos(data_folder)
    assert photo.path == data_folder / "photos" / "photo40.jpg"
    assert (photo.label, photo.credit, photo.source) == (None, "", "")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, SourceError, "is missing"),
        ("", DataError, "lists no photo"),
        ("{", DataError, "line 1"),
        ("[]", DataError, "line 1"),
        ('{"image": "a.jpg"}', DataError, "line 1.*caption"),
        ('{"image": "a.jpg", "caption": "c"}', SourceError, "a.jpg, which is not there"),
    ],
)
def test_a_bad_listing_is_a_clear_error(
    tmp_path: Path, text: str | None, error: type[Exception], message: str
) -> None:
    if text is not None:
        (tmp_path / "photos.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        read_photos(tmp_path)


def test_the_scale_holds_everything_that_is_drawn(moderator: Any) -> None:
    verdicts = [moderator._verdict(r, "image") for r in (0.1, 3.0)]
    scale = make_scale(moderator.manifest, verdicts)
    assert scale.low < 0.1 and scale.high > 3.0
    assert scale.x(0.1) < scale.x(1.5) < scale.x(3.0)
    assert scale.text(None) == "–"


def test_the_scale_keeps_close_radii_apart(moderator: Any) -> None:
    manifest = dataclasses.replace(moderator.manifest, bounds={}, thresholds={})
    close = [moderator._verdict(r, "image") for r in (1.0001, 1.0002)]
    scale = make_scale(manifest, close)
    assert scale.text(1.0001) != scale.text(1.0002)
    assert make_scale(manifest, []).low < 0 < 1 < make_scale(manifest, []).high


def test_a_band_is_drawn_and_said(moderator: Any) -> None:
    threshold = moderator.manifest.thresholds["image"]
    bounds, band = moderator.manifest.bounds, Band(threshold.value, threshold.value + 0.5)
    banded = dataclasses.replace(threshold, band=band)
    manifest = dataclasses.replace(moderator.manifest, thresholds={"image": banded})
    scale = make_scale(manifest, [])
    assert scale.low < band.lower < band.upper < scale.high
    verdict = moderator._verdict(1.0, "image")
    plain, drawn = (axis_svg(verdict, one, bounds, scale) for one in (threshold, banded))
    for svg, lines in ((plain, 1), (drawn, 2)):
        assert svg.count('class="threshold"') == lines
        assert ('class="between"' in svg) == ("undecided up to" in svg) == (lines == 2)
    assert f">{scale.text(band.lower)} to {scale.text(band.upper)}<" in drawn


def test_agreement_counts_an_undecided_item_as_not_right(moderator: Any) -> None:
    undecided = moderator.check(b"")
    assert agreement([Item("x", undecided, label="unsafe")]) == (
        "0 of 1 labelled unsafe flagged (1 undecided)"
    )
    assert agreement([Item("x", undecided)]) == ""


def test_the_sample_photos_are_listed_with_author_and_licence() -> None:
    from edgesafe.calib.measure import sample_photos

    try:
        folder = sample_photos().parent
    except SourceError as error:
        pytest.skip(str(error))
    lines = [json.loads(line) for line in (folder / "photos.jsonl").read_text().splitlines()]
    attribution = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    listed = {Path(line["image"]).name for line in lines}
    assert listed == {path.name for path in (folder / "photos").iterdir()}
    for line in lines:
        assert line["licence"] and line["author"] and line["caption"], line
        assert line["label"] in ("safe", "unsafe")
        assert Path(line["image"]).name in attribution, line["image"]


def test_the_shipped_model_judges_the_sample_photos(tmp_path: Path) -> None:
    try:
        default_model_path()
    except SourceError as error:
        pytest.skip(str(error))
    result = CliRunner().invoke(demo, ["--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for name, _, _ in demo_module._BAD:
        assert re.search(rf"^undecided .*{re.escape(name)}", result.stdout, re.M), name
    assert page.all("path", "marker")


def test_a_real_package_goes_all_the_way(
    tiny_package: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "demo_poses", lambda *args: None)  # test_demo_poses.py
    arguments = ["--model", str(tiny_package), "--data", str(data_folder), "--out", str(tmp_path)]
    result = CliRunner().invoke(demo, arguments)
    assert result.exit_code == 0, result.output
    page = Page(Path(result.stdout.splitlines()[-1]).read_text(encoding="utf-8"))
    assert page.stack == []
    assert len(page.all("img")) == 4
    # Every photo has a radius; the six bad inputs have none.
    assert len(page.all("path", "marker")) >= 4
    assert result.stdout.count("undecided  ") >= len(demo_module._BAD)
