from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank, parse_concepts
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.manifest_parts import Geometry

GEOMETRY = Geometry(curvature=0.1, dim=2, min_radius=0.1)


def _bank(*points: tuple[str, float, float], geometry: Geometry = GEOMETRY) -> ConceptBank:
    items = [{"name": n, "tag": "t", "safe": False, "embedding": [x, y]} for n, x, y in points]
    return parse_concepts(json.dumps({"concepts": items}).encode(), geometry, "concepts.json")


def test_angles_and_apertures_are_those_of_the_geometry() -> None:
    bank = _bank(("a", 0.6, 0.0), geometry=Geometry(1.0, 2, 0.1))
    y = np.array([0.7, 0.4])
    (found,) = bank.score(y)
    x = np.array([0.6, 0.0])
    assert found.angle == pytest.approx(float(lorentz.exterior_angle(x, y, 1.0)))
    assert found.half_aperture == pytest.approx(float(lorentz.half_aperture(x, 1.0, 0.1)))
    assert found.inside == bool(lorentz.entails(x, y, 1.0, 0.1))


def test_the_score_is_above_a_half_exactly_inside() -> None:
    bank = _bank(*((str(i), 0.5 * math.cos(i), 0.5 * math.sin(i)) for i in range(20)))
    scores = bank.score(np.array([0.8, 0.1]))
    assert 0 < sum(score.inside for score in scores) < len(scores)
    assert all((score.score >= 0.5) == score.inside for score in scores)
    assert all(0 <= score.score <= 1 for score in scores)


def test_the_best_fit_comes_first_where_apertures_saturate() -> None:
    """At c = 0.1 every aperture below a radius of .63 is 90 degrees: the angle decides."""
    bank = _bank(("far", -0.5, 0.0), ("near", 0.5, 0.1), ("beside", 0.1, 0.5))
    scores = bank.score(np.array([0.75, 0.1]))
    assert {score.half_aperture for score in scores} == {math.pi / 2}
    assert [score.name for score in scores] == ["near", "beside", "far"]
    assert scores[0].inside


def test_what_lies_nearer_to_the_root_is_outside() -> None:
    bank = _bank(("knife", 0.6, 0.0))
    assert not bank.score(np.array([0.45, 0.0]))[0].inside
    assert bank.score(np.array([0.75, 0.0]))[0].inside


def test_an_empty_bank_scores_nothing() -> None:
    assert _bank().score(np.array([1.0, 0.0])) == ()


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"name": "a", "tag": "t", "safe": 0, "embedding": [1, 2]},
        {"name": "a", "tag": "t", "safe": True, "embedding": [1]},
        {"name": "a", "tag": "t", "safe": True, "embedding": [1, None]},
        {"name": "a", "tag": "t", "safe": True, "embedding": [0, 0]},
        {"name": "", "tag": "t", "safe": True, "embedding": [1, 2]},
        {"name": "a", "tag": "t", "safe": True, "embedding": [1, 2], "more": 1},
        [1, 2],
    ],
)
def test_a_wrong_concept_is_refused(item: Any) -> None:
    data = json.dumps({"concepts": [item]}).encode()
    with pytest.raises(PackageError, match="concepts"):
        parse_concepts(data, GEOMETRY, "concepts.json")


def test_a_concept_named_twice_is_refused() -> None:
    with pytest.raises(PackageError, match="twice"):
        _bank(("a", 1.0, 0.0), ("a", 0.0, 1.0))
