"""``edgesafe index``: what gets in, what is told about the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.retrieval.entries import read_entries
from edgesafe.calib.retrieval.index import Index
from edgesafe.calib.retrieval.index_cmd import index
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.package import write_package


def call(*arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(index, [*map(str, arguments), "--backend", "cpu"], input=stdin)


def refused(*arguments: object) -> EdgesafeError:
    error = call(*arguments).exception
    assert isinstance(error, EdgesafeError), error
    return error


def items(path: Path) -> dict[str, Any]:
    found = Index.open(path, verify=True)
    return {name: found.item(row) for name, (row, _) in found.ids().items()}


def test_a_folder(indexed: Path, pictures: Path) -> None:
    found = items(indexed)
    assert {Path(name).stem: one.verdict for name, one in found.items()} == {
        "red": "unsafe", "dark-red": "unsafe", "green": "safe", "blue": "safe", "black": "safe",
    }  # fmt: skip
    green = found[str(pictures / "green.png")]
    assert green.modality == "image" and green.caption == "" and green.score < 0.5


def test_records_and_texts(tmp_path: Path, pictures: Path, tiny_package: Path) -> None:
    rows: list[Any] = [
        {"image": "pictures/green.png", "id": "g", "caption": "grass", "licence": "CC0"},
        {"text": "a photo of a dog", "id": 7},
        {"text": "knife"},
        {"text": "dog", "image": "both.png"},
        {"nothing": 1},
        {"image": "pictures/none.png"},
        {"text": ""},
        "a string",
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{\n")
    (tmp_path / "t.txt").write_text("the dog\n\nthe knife\n")
    out = tmp_path / "idx"
    result = call(
        tmp_path / "r.jsonl", tmp_path / "t.txt", "--out", out, "--model", tiny_package, "--json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["items"] == report["added"] == 5
    found = items(out)
    assert found["g"].caption == "grass" and found["g"].meta == {"licence": "CC0"}
    assert found["g"].source == str(tmp_path / "pictures/green.png")
    assert found["7"].caption == "a photo of a dog" and found["7"].modality == "text"
    assert found[f"{tmp_path}/r.jsonl:3"].verdict == "unsafe"
    assert found[f"{tmp_path}/t.txt:3"].caption == "the knife"
    reasons = {p["source"].rpartition("/")[2]: p["reason"] for p in report["not_indexed"]}
    assert reasons == {
        "r.jsonl:4": "bad_record", "r.jsonl:5": "bad_record", "none.png": "missing",
        "r.jsonl:7": "bad_record", "r.jsonl:8": "bad_record", "r.jsonl:9": "bad_record",
    }  # fmt: skip
    assert "not indexed: bad_record" in result.stderr


def test_what_cannot_be_decoded_is_told_and_left_out(
    pictures: Path, tmp_path: Path, tiny_package: Path
) -> None:
    (pictures / "cut.png").write_bytes((pictures / "red.png").read_bytes()[:-20])
    (pictures / "zero.jpg").write_bytes(b"")
    result = call(pictures, "--out", tmp_path / "idx", "--model", tiny_package)
    assert result.exit_code == 0
    assert "cut.png: not indexed:" in result.stderr and "zero.jpg: not indexed:" in result.stderr
    assert "5 items, 5 added, 2 not indexed (3 safe, 2 unsafe)" in result.stdout
    assert len(items(tmp_path / "idx")) == 5


def test_a_missing_source_is_an_error_after_the_rest(
    pictures: Path, tmp_path: Path, tiny_package: Path
) -> None:
    error = refused(
        tmp_path / "none.jpg", pictures, "0", "--out", tmp_path / "idx", "--model", tiny_package
    )
    assert error.exit_status == 3 and "none.jpg" in str(error)
    assert len(items(tmp_path / "idx")) == 5


def test_nothing_at_all(tmp_path: Path, tiny_package: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    error = refused(tmp_path / "bad.png", "--out", tmp_path / "idx", "--model", tiny_package)
    assert "nothing of what was named could be indexed" in str(error)


def test_adding(indexed: Path, pictures: Path, colour_png: Callable[..., bytes]) -> None:
    (pictures / "red.png").write_bytes(colour_png((0, 200, 0)))
    (pictures / "more.png").write_bytes(colour_png((9, 9, 200)))
    assert refused(pictures, "--out", indexed).exit_status == 2
    result = call(pictures, "--out", indexed, "--add", "--json")
    report = json.loads(result.stdout)
    assert (report["added"], report["replaced"], report["unchanged"]) == (1, 1, 4)
    found = items(indexed)
    assert len(found) == report["items"] == 6
    assert found[str(pictures / "red.png")].verdict == "safe"


def test_a_list_on_standard_input(pictures: Path, tmp_path: Path, tiny_package: Path) -> None:
    lines = f"{pictures / 'red.png'}\n\n{pictures / 'blue.png'}\n"
    result = call("-", "--out", tmp_path / "idx", "--model", tiny_package, stdin=lines)
    assert result.exit_code == 0 and len(items(tmp_path / "idx")) == 2


def test_adding_with_another_package(
    indexed: Path, pictures: Path, tmp_path: Path, tiny_parts: Any, tiny_image_model: Any
) -> None:
    fields, files = tiny_parts()
    fields["release"] = 2
    fields["thresholds"]["image"]["value"] = 0.45
    write_package(tmp_path / "recalibrated", fields, files)
    (pictures / "new.png").write_bytes((pictures / "red.png").read_bytes())
    result = call(pictures, "--out", indexed, "--add", "--model", tmp_path / "recalibrated")
    assert result.exit_code == 0 and "same encoders" in result.stderr
    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(storage="fp16")
    fields["encoders"]["image"]["storage"] = "fp16"
    write_package(tmp_path / "other", fields, files)
    error = refused(pictures, "--out", indexed, "--add", "--model", tmp_path / "other")
    assert "encoders differ" in str(error) and error.exit_status == 3


def test_flat_packages_and_classifiers(
    pictures: Path, tmp_path: Path, flat_parts: Any, classifier_parts: Any
) -> None:
    write_package(tmp_path / "flat", *flat_parts())
    result = call(pictures, "--out", tmp_path / "idx", "--model", tmp_path / "flat")
    assert result.exit_code == 0
    assert Index.open(tmp_path / "idx").space.model == "euclidean"
    write_package(tmp_path / "classifier", *classifier_parts())
    error = refused(pictures, "--out", tmp_path / "idx2", "--model", tmp_path / "classifier")
    assert "classifier" in str(error)


@pytest.mark.parametrize("commit", [1, 2, 3])
def test_commits_on_the_way_make_one_index(
    pictures: Path, tmp_path: Path, tiny_package: Path, commit: int
) -> None:
    out = tmp_path / "idx"
    assert call(pictures, "--out", out, "--model", tiny_package, "--commit", commit).exit_code == 0
    assert len(items(out)) == 5


def test_a_first_build_of_nothing_leaves_nothing(tmp_path: Path, tiny_package: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "a" / "b" / "ix", tmp_path / "there"):
        for source in ("empty", "none"):
            error = refused(tmp_path / source, "--out", out, "--model", tiny_package)
            assert str(error).startswith("nothing of what was named could be indexed")
            assert error.exit_status == 3
            assert sorted(one.name for one in tmp_path.iterdir()) == ["empty", "there"]
            assert not list((tmp_path / "there").iterdir())
    result = call(tmp_path / "empty", "--out", tmp_path / "ix", "--model", tiny_package, "--json")
    assert json.loads(result.stdout)["items"] == 0 and not (tmp_path / "ix").exists()


def test_a_broken_first_build_keeps_what_it_has(
    tmp_path: Path, pictures: Path, tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(sources: object, lines: object) -> Iterator[Any]:
        yield from read_entries([str(pictures)], [])
        raise KeyboardInterrupt

    monkeypatch.setattr("edgesafe.calib.retrieval.index_cmd.read_entries", broken)
    out = tmp_path / "ix"
    wish = ("x", "--out", out, "--model", tiny_package)
    assert call(*wish, "--commit", 100).exit_code == 1 and not out.exists()
    monkeypatch.setattr("edgesafe.calib.retrieval.index_cmd._AHEAD", 1)
    assert call(*wish, "--commit", 1).exit_code == 1
    assert len(Index.open(out, verify=True)) >= 1
