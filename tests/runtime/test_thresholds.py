"""Bands, thresholds by concept, probabilities: what the manifest says and what a verdict does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgesafe.runtime import Moderator, PackageError, write_package
from edgesafe.runtime.inspect_cmd import inspect
from edgesafe.runtime.output import as_record
from edgesafe.runtime.thresholds import QUANTILES, Scores, Temperature
from edgesafe.runtime.verdict import Timings, Verdict, decide

Parts = Callable[[], tuple[dict[str, Any], dict[str, bytes]]]


def _grey_red(red: int) -> np.ndarray[Any, Any]:
    return np.full((32, 32, 3), (red, 0, 0), np.uint8)


@pytest.fixture
def load(tiny_parts: Parts, tmp_path: Path) -> Callable[..., Moderator]:
    def make(**changes: Any) -> Moderator:
        fields, files = tiny_parts()
        fields["thresholds"]["image"] |= changes
        return Moderator(write_package(tmp_path / "p", fields, files))

    return make


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_safe_needs_a_score_up_to_the_lower_end(
    score: float, threshold: float, lower: float, upper: float
) -> None:
    found = decide(score, threshold, (lower, upper))
    sound = math.isfinite(threshold) and lower <= threshold <= upper and math.isfinite(score)
    assert (found == "safe") == (sound and score <= lower)
    assert (found == "unsafe") == (sound and score > upper)


def test_a_band_is_undecided_and_says_what_is_known(load: Callable[..., Moderator]) -> None:
    moderator = load(band={"lower": 0.3, "upper": 0.6})
    # The score is asinh of the length of (red, 0.1): 0.22, 0.39 and 0.89.
    verdicts = [moderator.check(_grey_red(red)) for red in (50, 100, 255)]
    assert [v.decision for v in verdicts] == ["safe", "undecided", "unsafe"]
    middle = verdicts[1]
    assert middle.reason == "in_band" and "between 0.3000 and 0.6000" in (middle.detail or "")
    assert middle.score == pytest.approx(np.arcsinh(np.hypot(100 / 255, 0.1)), rel=1e-4)
    assert middle.threshold == 0.5 and middle.radius is not None and middle.concepts
    assert as_record("a", 0, middle)["reason"] == "in_band"


def test_a_verdict_cannot_contradict_its_band() -> None:
    with pytest.raises(ValueError, match="does not bear"):
        Verdict("safe", 0.45, 0.45, 0.5, (), None, None, "image", Timings(), "p", band=(0.4, 0.6))


def test_the_threshold_of_the_best_fitting_harmful_concept_holds(
    load: Callable[..., Moderator],
) -> None:
    own = {"value": 0.2, "interval": [0.1, 0.3], "confidence": 0.9, "n": 60}
    strict = load(concepts={"knife": own}).check(_grey_red(100))
    assert (strict.decision, strict.threshold) == ("unsafe", 0.2)


def test_a_concept_has_a_band_of_its_own(load: Callable[..., Moderator]) -> None:
    own = {"value": 0.3, "interval": [0.1, 0.4], "confidence": 0.9, "n": 60}
    banded = {"band": {"lower": 0.3, "upper": 0.42}}
    moderator = load(concepts={"knife": {**own, **banded}}, band={"lower": 0.1, "upper": 0.9})
    verdict = moderator.check(_grey_red(100))
    assert (verdict.reason, verdict.band) == ("in_band", (0.3, 0.42))
    assert moderator.check(_grey_red(120)).decision == "unsafe"


@pytest.mark.parametrize("name", ["dog", "sword"])
def test_a_threshold_for_no_harmful_concept_is_refused(
    load: Callable[..., Moderator], name: str
) -> None:
    own = {"value": 0.2, "interval": [0.1, 0.3], "confidence": 0.9, "n": 60}
    with pytest.raises(PackageError, match=name):
        load(concepts={name: own})


def test_a_temperature_gives_a_probability_and_decides_nothing(
    load: Callable[..., Moderator],
) -> None:
    verdict = load(temperature={"scale": 0.1, "bias": 2.0}).check(_grey_red(255))
    assert verdict.decision == "unsafe" and verdict.score is not None
    expected = 1 / (1 + math.exp(-(verdict.score - 2.0) / 0.1))
    assert verdict.probability == pytest.approx(expected)
    assert as_record("a", 0, verdict)["probability"] == verdict.probability


def test_a_probability_never_overflows() -> None:
    temperature = Temperature(1e-6, 0.0)
    assert [temperature.probability(s) for s in (-1e3, 0.0, 1e3)] == [0.0, 0.5, 1.0]


def test_without_them_there_is_no_probability_and_no_band(load: Callable[..., Moderator]) -> None:
    verdict = load().check(_grey_red(255))
    assert verdict.probability is None and verdict.band is None


@pytest.mark.parametrize(
    "changes",
    [
        {"band": {"lower": 0.6, "upper": 0.7}},
        {"band": {"lower": 0.4}},
        {"band": {"lower": 0.4, "upper": 2e3}},
        {"band": {"lower": 0.4, "upper": 0.6, "middle": 0.5}},
        {"band": [0.4, 0.6]},
        {"max_miss": 1.5},
        {"max_miss": "5 %"},
        {"temperature": {"scale": 0.0, "bias": 0.0}},
        {"temperature": {"scale": -1.0, "bias": 0.0}},
        {"temperature": {"scale": 1.0}},
        {"concepts": {"knife": {"value": 0.4}}},
        {"concepts": {"knife": 0.4}},
        {"concepts": ["knife"]},
        {"extra": 1},
    ],
)
def test_a_wrong_value_is_refused(load: Callable[..., Moderator], changes: Any) -> None:
    with pytest.raises(PackageError):
        load(**changes)


def test_inspect_shows_all_of_it(load: Callable[..., Moderator]) -> None:
    own = {"value": 0.2, "interval": [0.1, 0.3], "confidence": 0.9, "n": 60}
    moderator = load(
        band={"lower": 0.4, "upper": 0.6},
        max_miss=0.05,
        temperature={"scale": 0.1, "bias": 0.25},
        concepts={"knife": own},
    )
    text = CliRunner().invoke(inspect, [str(moderator.path)], catch_exceptions=False).output
    for part in (
        "chosen to miss at most 5 %, 95 % sure",
        "undecided above 0.4000, up to 0.6000",
        "sigmoid((score - 0.2500) / 0.1000)",
        "of knife: 0.2000  (90 % interval 0.1000 to 0.3000, 60 cases)",
    ):
        assert part in text


_RISING = [i / 20 for i in range(QUANTILES)]


def test_shares_below_a_score_are_interpolated() -> None:
    scores = Scores(tuple(_RISING), tuple(1 + i for i in _RISING))
    assert scores.share_below(0.325) == pytest.approx((0.325, 0.0))
    assert scores.share_below(1.5) == pytest.approx((1.0, 0.5))
    assert scores.share_below(-3) == (0.0, 0.0) and scores.share_below(9) == (1.0, 1.0)
    # Half of the safe cases have one score: what ties with it has none of them below.
    tied = Scores((0.2,) * 11 + tuple(0.2 + i for i in _RISING[:10]), tuple(_RISING))
    assert tied.share_below(0.2)[0] == 0.0 and tied.share_below(0.2001)[0] > 0.5


def test_scores_are_read_from_the_manifest(load: Callable[..., Moderator]) -> None:
    moderator = load(scores={"safe": _RISING, "unsafe": _RISING})
    found = moderator.manifest.thresholds["image"].scores
    assert found == Scores(tuple(_RISING), tuple(_RISING))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"safe": _RISING}, "unsafe is missing"),
        ({"safe": _RISING, "unsafe": _RISING[:-1]}, "must have 21 numbers"),
        ({"safe": _RISING, "unsafe": _RISING[::-1]}, "must rise"),
        ({"safe": [*_RISING[:-1], 1e999], "unsafe": _RISING}, "JSON|finite"),
        ({"safe": [-1, *_RISING[1:]], "unsafe": _RISING}, "finite number in 0"),
        ({"safe": _RISING, "unsafe": _RISING, "more": 1}, "unknown keys"),
        ([], "must be an object"),
    ],
)
def test_scores_that_are_none(load: Callable[..., Moderator], scores: object, message: str) -> None:
    with pytest.raises((PackageError, ValueError), match=message):
        load(scores=scores)


def test_the_formula_of_a_probability_has_one_sign() -> None:
    assert Temperature(0.5, 0.25).formula == "sigmoid((score - 0.2500) / 0.5000)"
    assert Temperature(0.5, -0.1067).formula == "sigmoid((score + 0.1067) / 0.5000)"
