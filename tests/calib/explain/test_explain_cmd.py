"""``edgesafe explain``: what is told and written, for pictures and for texts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgesafe.calib.explain.explain_cmd import explain
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.package import write_package


def call(*arguments: object) -> Result:
    return CliRunner().invoke(explain, [*map(str, arguments), "--backend", "cpu"])


def told(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def refused(*arguments: object) -> EdgesafeError:
    error = call(*arguments).exception
    assert isinstance(error, EdgesafeError), error
    return error


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Red but for a black edge."""
    pixels = np.zeros((70, 70, 3), np.uint8)
    pixels[:60, :60] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "<red>.png")
    return tmp_path / "<red>.png"


def test_a_text_and_its_words(tiny_package: Path) -> None:
    found = told("a dog and a knife", "--model", tiny_package)
    assert found["verdict"] == "unsafe" and found["modality"] == "text"
    push = {word["text"]: word["push"] for word in found["words"]}
    assert set(push) == {"a", "dog", "and", "knife"}
    assert push["knife"] > 0.5 and abs(push["and"]) < 1e-6
    assert {c["name"] for c in found["concepts"]} == {"dog", "knife", "blue"}
    assert found["path"][0]["text"] == "[root]" and len(found["path"]) > 1
    assert [one["name"] for one in found["standing"]] == ["safe_text", "unsafe_text", "safe_image"]


def test_a_picture_and_its_places(tmp_path: Path, tiny_package: Path) -> None:
    pixels = np.zeros((70, 70, 3), np.uint8)
    pixels[10:30, 40:60] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    found = told(tmp_path / "spot.png", "--model", tiny_package)
    places = np.array(found["places"])
    assert places.shape == (7, 7)
    # Blurred, the red runs out of its window and is lost; elsewhere there is nothing to lose.
    assert places[1:3, 4:6].min() > 0.0 and np.unravel_index(places.argmax(), (7, 7))[1] in (4, 5)
    assert abs(places[6]).max() < 0.1 * places.max()
    assert "places" not in told(tmp_path / "spot.png", "--model", tiny_package, "--no-parts")


def test_captions(picture: Path, tiny_package: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("a knife\nthe dog\n")
    found = told(picture, "--model", tiny_package, "--captions", tmp_path / "c.txt", "--no-parts")
    assert found["captions"] == 2
    assert {met["text"]: met["harmless"] for met in found["nearest"]} == {
        "a knife": False, "the dog": True,
    }  # fmt: skip
    (tmp_path / "bad.jsonl").write_text('{"text": ""}\n')
    error = refused(picture, "--model", tiny_package, "--captions", tmp_path / "bad.jsonl")
    assert "bad.jsonl:1" in str(error)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_a_page_that_loads_nothing(picture: Path, tiny_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    result = call(picture, "--model", tiny_package, "--out", out)
    assert result.exit_code == 0 and f"written: {out}" in result.stdout
    text = out.read_text()
    assert "&lt;red&gt;.png" in text and "<red>" not in text
    page = _Tags()
    page.feed(text)
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "object"} and {"svg", "details"} <= tags
    sources = [attributes["src"] or "" for _, attributes in page.seen if "src" in attributes]
    assert len(sources) == 2 and all(s.startswith("data:image/jpeg;base64,") for s in sources)
    assert "Which places push it outward" in text


def test_a_page_of_a_text_is_escaped(tiny_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    words = "a dog and the knife of <dog>"
    assert call(words, "--model", tiny_package, "--out", out).exit_code == 0
    assert "<dog>" not in out.read_text() and "&lt;dog&gt;" in out.read_text()
    assert call("a dog", "--model", tiny_package, "--out", out).exit_code == 0
    assert "Which words push it outward" in out.read_text()


@pytest.mark.parametrize("suffix", ["svg", "png", "json"])
def test_other_files(tiny_package: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"x.{suffix}"
    assert call("a knife", "--model", tiny_package, "--out", out, "--no-parts").exit_code == 0
    if suffix == "svg":
        assert ET.parse(out).getroot().tag.endswith("svg")
    elif suffix == "png":
        with Image.open(out) as image:
            assert image.size == (2360, 1440)
    else:
        assert json.loads(out.read_text())["verdict"] == "unsafe"


def test_words_for_people(picture: Path, tiny_package: Path) -> None:
    text = call(picture, "--model", tiny_package).stdout
    assert "beyond the threshold" in text or "within the threshold" in text
    assert "from the root" in text and "CONCEPT" in text and "in thousandths" in text


def test_what_cannot_be_explained(
    tmp_path: Path, tiny_package: Path, flat_parts: Any, colour_png: Callable[..., bytes]
) -> None:
    assert refused("a", "--out", tmp_path / "x.pdf").exit_status == 2
    assert "--as text" in str(refused("none.png", "--model", tiny_package))
    (tmp_path / "cut.png").write_bytes(colour_png((255, 0, 0))[:-20])
    assert "cannot be read" in str(refused(tmp_path / "cut.png", "--model", tiny_package))
    assert "cannot be explained" in str(refused("", "--model", tiny_package))
    write_package(tmp_path / "flat", *flat_parts())
    assert "flat" in str(refused("a knife", "--model", tmp_path / "flat"))


def test_a_calibrated_package_with_a_band(
    tmp_path: Path, tiny_parts: Callable[..., Any], picture: Path
) -> None:
    fields, files = tiny_parts()
    rising = [i / 10 for i in range(21)]
    more = {"scores": {"safe": rising, "unsafe": rising}, "band": {"lower": 0.4, "upper": 1.9}}
    fields["thresholds"]["image"] = {**fields["thresholds"]["image"], **more}
    write_package(tmp_path / "p", fields, files)
    out = tmp_path / "x.html"
    found = told(picture, "--model", tmp_path / "p", "--no-parts", "--out", out)
    assert (found["verdict"], found["reason"], found["band"]) == (
        "undecided",
        "in_band",
        [0.4, 1.9],
    )
    among = found["calibration"]
    assert among["safe_below"] == among["unsafe_below"] == pytest.approx(found["radius"] / 2)
    text = out.read_text()
    assert "where the package does not decide" in text and "was calibrated on" in text
    assert told("a dog", "--model", tmp_path / "p", "--no-parts")["calibration"] is None
