from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.calib.bop import ModelInfo, read_models_info
from edgesafe.calib.bop.extent import diameter
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import Mesh

ENTRY: dict[str, Any] = {
    "diameter": 5.0,
    **{f"min_{name}": -1.0 for name in "xyz"},
    **{f"size_{name}": 2.0 for name in "xyz"},
    "symmetries_discrete": [[-1, 0, 0, 1, 0, -1, 0, 2, 0, 0, 1, 3, 0, 0, 0, 1]],
    "symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 4]}],
}


def write(tmp_path: Path, **changes: Any) -> Path:
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}
    (tmp_path / "models_info.json").write_text(json.dumps({"7": entry}))
    return tmp_path / "models_info.json"


def test_it_comes_back(tmp_path: Path) -> None:
    info = read_models_info(write(tmp_path))[7]
    assert info.diameter == 5
    np.testing.assert_array_equal(info.symmetries_discrete[0] @ [1, 1, 1, 1], [0, 1, 4, 1])
    assert info.to_json() == ENTRY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diameter": None}, "diameter is missing"),
        ({"diameter": 0}, "diameter"),
        ({"min_x": "1"}, "min_x"),
        ({"size_z": None}, "size_z is missing"),
        ({"symmetries_discrete": [[1, 0, 0]]}, "16 numbers"),
        ({"symmetries_discrete": [[2, 0, 0, 0] * 4]}, "rigid"),
        ({"symmetries_discrete": [[-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]}, "rigid"),
        ({"symmetries_continuous": [{"axis": [0, 0, 0], "offset": [0, 0, 0]}]}, "direction"),
        ({"symmetries_continuous": [{"axis": [0, 0, 1]}]}, "offset is missing"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_models_info(write(tmp_path, **changes))
    assert "object 7" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"one": {}}', '{"1": {"diameter": NaN}}', "{"])
def test_no_such_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "models_info.json").write_text(text)
    with pytest.raises(DataError, match=r"models_info\.json"):
        read_models_info(tmp_path / "models_info.json")


@pytest.mark.parametrize("count", [1, 2, 50, 3000])
def test_the_diameter_is_exact(count: int) -> None:
    points = np.random.default_rng(count).normal(size=(count, 3)) * [1, 5, 2]
    every = np.linalg.norm(points[None] - points[:, None], axis=2)
    assert diameter(points) == pytest.approx(every.max(), rel=1e-12)


def test_the_diameter_of_a_ball_and_of_a_line() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 3))
    ball = points / np.linalg.norm(points, axis=1, keepdims=True)
    every = np.linalg.norm(ball[None] - ball[:, None], axis=2)
    assert diameter(ball) == pytest.approx(every.max(), rel=1e-12)
    assert diameter(np.linspace(0, 1, 1000)[:, None] * [3.0, 4, 0]) == pytest.approx(5)


def test_a_measured_mesh() -> None:
    mesh = Mesh(np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 0]]), np.array([[0, 1, 2]]))
    info = ModelInfo.of_mesh(mesh)
    assert info.diameter == 5
    np.testing.assert_array_equal(info.size, [3, 4, 0])
