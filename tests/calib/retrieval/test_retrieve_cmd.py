"""``edgesafe retrieve``: redirected, as it is, filtered; and what the answer tells about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.retrieval.embed import Embedder
from edgesafe.calib.retrieval.index import create_index
from edgesafe.calib.retrieval.index_cmd import index
from edgesafe.calib.retrieval.retrieve_cmd import retrieve
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.package import write_package


def call(*arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(retrieve, [*map(str, arguments), "--backend", "cpu"], input=stdin)


def answer(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: object) -> EdgesafeError:
    error = call(*arguments).exception
    assert isinstance(error, EdgesafeError), error
    return error


def names(found: dict[str, Any]) -> list[str]:
    return [Path(one["id"]).stem for one in found["results"]]


def test_an_unsafe_query_is_redirected(indexed: Path) -> None:
    found = answer("a knife", "--index", indexed, "-k", 2)
    assert found["query"]["verdict"] == "unsafe" and found["query"]["modality"] == "text"
    assert found["redirected"] and found["policy"] == "redirect"
    assert found["bound"] == {"class": "safe_image", "quantile": "avg", "value": 0.3}
    assert found["radius_before"] == pytest.approx(np.arcsinh(np.hypot(1, 0.1)), rel=1e-5)
    assert found["radius_after"] == pytest.approx(0.3, rel=1e-6) == found["limit"]
    assert names(found)[0] == "black"
    assert found["turned_away"] >= 1 and found["filtered"] == 0
    radii = [step["radius"] for step in found["steps"]]
    assert len(radii) == 6 and radii == sorted(radii, reverse=True)
    assert (found["steps"][0]["verdict"], found["steps"][-1]["verdict"]) == ("unsafe", "safe")


def test_the_original_policy_shows_what_is_there(indexed: Path) -> None:
    found = answer("a knife", "--index", indexed, "--policy", "original", "-k", 2)
    assert names(found) == ["red", "dark-red"]
    assert [one["verdict"] for one in found["results"]] == ["unsafe", "unsafe"]
    assert [one["rank_before"] for one in found["results"]] == [1, 2]
    assert not found["redirected"] and found["steps"] == [] and found["limit"] is None
    assert found["radius_before"] == found["radius_after"]


def test_filtering(indexed: Path) -> None:
    found = answer("a knife", "--index", indexed, "--policy", "original", "--filter-unsafe")
    assert set(names(found)) == {"green", "blue", "black"} and found["filtered"] == 2
    assert found["turned_away"] == 0
    few = answer("knife", "--index", indexed, "--policy", "original", "--filter-unsafe", "-k", 2)
    assert len(few["results"]) == 2 and few["filtered"] == 2
    assert [one["rank_before"] for one in few["results"]] == [None, None]


def test_a_safe_query_is_left_alone(indexed: Path, pictures: Path) -> None:
    found = answer(pictures / "blue.png", "--index", indexed, "-k", 1)
    assert not found["redirected"] and names(found) == ["blue"]
    assert found["results"][0]["distance"] == pytest.approx(0, abs=1e-6)
    assert found["query"]["modality"] == "image"


def test_forms_and_bounds(indexed: Path) -> None:
    # The released formula adds 0.5 at curvature 1: nothing is moved there.
    paper = answer("knife", "--index", indexed, "--traversal", "paper")
    assert not paper["redirected"] and paper["limit"] == pytest.approx(0.4 + np.tanh(-0.4) + 1)
    low = answer("knife", "--index", indexed, "--bound", "low_05", "--steps", 2)
    assert low["radius_after"] == pytest.approx(0.2, rel=1e-6) and len(low["steps"]) == 3


def test_engines_agree(indexed: Path) -> None:
    pytest.importorskip("faiss", reason="FAISS is not installed")
    one = answer("knife", "--index", indexed, "--verify")
    other = answer("knife", "--index", indexed, "--engine", "faiss")
    assert one == other


def test_a_table(indexed: Path) -> None:
    lines = call("a knife", "--index", indexed, "-k", 3).stdout
    assert "redirected: radius 0.885 -> 0.300 (safe_image avg)" in lines
    assert "RANK" in lines and "green.png" in lines and "on the way" in lines
    assert "is within" in call("dog", "--index", indexed).stdout
    options = ("--policy", "original", "--filter-unsafe")
    shown = call("knife", "--index", indexed, *options).stdout
    assert "answered as it is" in shown and "filtered: 2" in shown


def test_many_queries(indexed: Path, pictures: Path) -> None:
    lines = f"knife\n\nnone.png\n{pictures / 'red.png'}\n"
    result = call("-", "--index", indexed, "--json", stdin=lines)
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["redirected"] and third["redirected"] and "none.png" in second["error"]
    assert isinstance(result.exception, EdgesafeError) and result.exception.exit_status == 3


def test_queries_that_cannot_be(indexed: Path, pictures: Path) -> None:
    assert "--as text" in str(refused("no-such.jpg", "--index", indexed))
    assert "unknown_text" in str(refused("no-such.jpg", "--index", indexed, "--as", "text"))
    (pictures / "cut.png").write_bytes((pictures / "red.png").read_bytes()[:-20])
    assert refused(pictures / "cut.png", "--index", indexed).exit_status == 3
    assert "empty" in str(refused("", "--index", indexed))
    assert refused("knife", "--index", pictures).exit_status == 3
    error = refused("knife", "--index", indexed, "--policy", "original", "--bound", "avg")
    assert error.exit_status == 2


def test_texts_among_pictures(indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the dog\nthe knife\n")
    words = [str(tmp_path / "t.txt"), "--out", str(indexed), "--add", "--backend", "cpu"]
    assert CliRunner().invoke(index, words).exit_code == 0
    found = answer("knife", "--index", indexed, "--modality", "text", "--policy", "original")
    assert [one["caption"] for one in found["results"]] == ["the knife", "the dog"]
    every = answer("knife", "--index", indexed)
    assert len(every["results"]) == 7


def test_the_package_of_the_index(
    indexed: Path, tmp_path: Path, tiny_parts: Any, tiny_image_model: Any
) -> None:
    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(storage="fp16")
    fields["encoders"]["image"]["storage"] = "fp16"
    write_package(tmp_path / "other", fields, files)
    error = refused("knife", "--index", indexed, "--model", tmp_path / "other")
    assert "encoders differ" in str(error)
    fields, files = tiny_parts()
    fields["release"] = 2
    write_package(tmp_path / "again", fields, files)
    result = call("knife", "--index", indexed, "--model", tmp_path / "again")
    assert result.exit_code == 0 and "same encoders" in result.stderr


def test_the_package_is_gone(tmp_path: Path, pictures: Path, tiny_package: Path) -> None:
    moved = tmp_path / "package"
    shutil.copytree(tiny_package, moved)
    words = [str(pictures), "--out", str(tmp_path / "i"), "--model", str(moved)]
    assert CliRunner().invoke(index, [*words, "--backend", "cpu"]).exit_code == 0
    shutil.rmtree(moved)
    assert "--model PKG" in str(refused("knife", "--index", tmp_path / "i"))
    assert call("knife", "--index", tmp_path / "i", "--model", tiny_package).exit_code == 0


def test_without_bounds_or_thresholds(tmp_path: Path, pictures: Path, tiny_parts: Any) -> None:
    fields, files = tiny_parts()
    fields["bounds"], fields["thresholds"] = {}, {}
    write_package(tmp_path / "bare", fields, files)
    words = [str(pictures), "--out", str(tmp_path / "i"), "--model", str(tmp_path / "bare")]
    assert CliRunner().invoke(index, [*words, "--backend", "cpu"]).exit_code == 0
    assert "no bound" in str(refused("knife", "--index", tmp_path / "i"))
    options = ("knife", "--index", tmp_path / "i", "--policy", "original")
    assert answer(*options)["results"][0]["verdict"] == "undecided"
    assert "no verdict to filter by" in str(refused(*options, "--filter-unsafe"))


def test_flat_packages_have_no_root(tmp_path: Path, pictures: Path, flat_parts: Any) -> None:
    write_package(tmp_path / "flat", *flat_parts())
    words = [str(pictures), "--out", str(tmp_path / "i"), "--model", str(tmp_path / "flat")]
    assert CliRunner().invoke(index, [*words, "--backend", "cpu"]).exit_code == 0
    found = answer(pictures / "red.png", "--index", tmp_path / "i")
    assert found["policy"] == "original" and found["radius_before"] is None
    assert found["results"][0]["distance"] == pytest.approx(0, abs=1e-6)
    error = refused(pictures / "red.png", "--index", tmp_path / "i", "--policy", "redirect")
    assert "no radius" in str(error) and error.exit_status == 2


def test_an_empty_index_says_how_to_mend_it(tmp_path: Path, tiny_package: Path) -> None:
    embedder = Embedder.load(tiny_package, backend="cpu")
    create_index(tmp_path / "ix", embedder.space, embedder.origin)
    for policy in ("redirect", "original"):
        error = refused("a knife", "--index", tmp_path / "ix", "--policy", policy)
        assert f"edgesafe index SOURCE --out {tmp_path / 'ix'} --add" in str(error)
        assert error.exit_status == 3
