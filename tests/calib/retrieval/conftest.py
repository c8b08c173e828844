"""Pictures, and an index of the tiny package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.retrieval.index_cmd import index


@pytest.fixture
def pictures(tmp_path: Path, colour_png: Callable[..., bytes]) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in {
        "red": (255, 0, 0), "dark-red": (200, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255),
        "black": (0, 0, 0),
    }.items():  # fmt: skip
        (folder / f"{name}.png").write_bytes(colour_png(colour))
    return folder


@pytest.fixture
def indexed(tmp_path: Path, pictures: Path, tiny_package: Path) -> Path:
    out = tmp_path / "idx"
    assert run_index(pictures, "--out", out, "--model", tiny_package).exit_code == 0
    return out


def run_index(*arguments: object, stdin: str = "") -> Result:
    words = [*map(str, arguments), "--backend", "cpu"]
    return CliRunner().invoke(index, words, input=stdin)
