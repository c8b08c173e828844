"""Figures over many poses, against sums that can be done by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgesafe.calib.bop import ModelInfo
from edgesafe.calib.bop.results import Estimate
from edgesafe.calib.bop.symmetries import rigid, turn
from edgesafe.calib.pose_scores import METRICS, EvalModel, Target, Truth, judge, score

IDENTITY = np.eye(3)
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
POINTS = np.array([[50.0, 0, 0], [-50, 0, 0], [0, 20, 0]])
T = np.array([0.0, 0, 600])
HALF = rigid(turn([0, 0, 1], [math.pi]), [[0.0, 0, 0]])


def model(discrete: Any = ()) -> EvalModel:
    discrete = np.asarray(discrete).reshape(-1, 4, 4)
    return EvalModel(POINTS, ModelInfo(100, POINTS.min(0), np.ptp(POINTS, 0), discrete))


def estimate(t: Any, score: float = 1.0, R: Any = IDENTITY) -> Estimate:
    return Estimate(score, np.asarray(R), np.asarray(t, np.float64))


def judged(truths: list[Any], estimates: list[Estimate], **more: Any) -> list[Target]:
    entries = [Truth(IDENTITY, np.asarray(t, np.float64)) for t in truths]
    return judge(
        (1, 2), 7, entries, estimates, more.pop("model", model()), K, **{"width": 640, **more}
    )


def target(error: float, obj_id: int = 1, frame: int = 0, **more: Any) -> Target:
    values = {"add": error, "adi": error, "mssd": error, "mspd": error} | more
    values |= {"rotation_deg": 1.0, "translation_mm": error}
    if math.isinf(error):
        values = {}
    return Target((0, frame), obj_id, 100.0, False, **values)


def test_a_shift() -> None:
    (found,) = judged([T], [estimate(T + [3, 4, 0])])
    assert found.add == found.mssd == found.translation_mm == pytest.approx(5)
    assert found.rotation_deg == 0
    assert found.mspd == pytest.approx(5)
    assert found.error == found.add


def test_pixels_are_those_of_a_picture_640_wide() -> None:
    (found,) = judged([T], [estimate(T + [3, 4, 0])], width=1280)
    assert found.mspd == pytest.approx(2.5)


def test_symmetric_objects_use_add_s() -> None:
    half_turn = HALF[0, :3, :3]
    (plain,) = judged([T], [estimate(T, R=half_turn)])
    (symmetric,) = judged([T], [estimate(T, R=half_turn)], model=model(HALF))
    assert plain.error == plain.add > 60
    # The two far points change places; the third has the middle of nothing nearest: 40 mm.
    assert symmetric.error == symmetric.adi == pytest.approx(40 / 3)
    assert symmetric.mssd == pytest.approx(0, abs=1e-9)
    assert symmetric.rotation_deg == pytest.approx(0, abs=1e-5)


def test_no_estimate_is_infinitely_wrong() -> None:
    (found,) = judged([T], [])
    assert not found.found and found.error == math.inf
    assert found.credits == (0,) * len(METRICS)


def test_the_best_score_counts() -> None:
    good, bad = estimate(T, 0.5), estimate(T + 40, 0.6)
    assert judged([T], [good, bad])[0].add > 60
    assert judged([T], [bad, estimate(T, 0.7)])[0].add == 0


def test_several_instances() -> None:
    """Two estimates for three instances: each goes to the nearest, one is left without."""
    truths = [T, T + [100, 0, 0], T + [0, 100, 0]]
    near = [estimate(T + [101, 0, 0], 0.1), estimate(T + [2, 0, 0], 0.9)]
    found = judged(truths, near)
    assert [one.add for one in found] == pytest.approx([2, 1, math.inf])
    # Of two estimates for one instance the better score counts, not the better pose.
    assert judged([T], near)[0].add == pytest.approx(2)


def test_credits_of_one_target() -> None:
    """ADD 5 mm, ADD-S 4 mm, MSSD 12 mm, MSPD 22 px of a diameter of 100 mm."""
    found = target(5.0, adi=4.0, mssd=12.0, mspd=22.0)
    assert dict(zip(METRICS, found.credits, strict=True)) == pytest.approx(
        {
            "recall": 1,  # 5 < 10
            "auc": 0.95,
            "auc_add_s": 0.96,
            "auc_diameter": 0.5,
            "ar_mssd": 0.8,  # 15, 20 ... 50 of 5, 10 ... 50 mm
            "ar_mspd": 0.6,  # 25, 30 ... 50 of 5, 10 ... 50 px
        }
    )
    assert target(10.0).credits[0] == 0  # strictly below a tenth


def test_the_area_is_the_exact_integral() -> None:
    errors = np.random.default_rng(0).exponential(40, 50)
    _, pooled, _ = score([target(e, frame=i) for i, e in enumerate(errors)])
    thresholds = np.linspace(0, 100, 200_001)
    share = np.searchsorted(np.sort(errors), thresholds, side="right") / len(errors)
    assert pooled.figures["auc"].value == pytest.approx(share.mean(), abs=1e-4)


def test_objects_pooled_and_mean() -> None:
    """Object 1: 3 of 4. Object 2: 0 of 1, without a pose. Pooled 3 of 5, mean of objects 3/8."""
    targets = [target(error, 1, i) for i, error in enumerate((1, 2, 3, 30))]
    objects, pooled, mean = score([*targets, target(math.inf, 2, 0)])
    recalls = [one.figures["recall"].value for one in (objects[1], objects[2], pooled, mean)]
    assert recalls == pytest.approx([3 / 4, 0, 3 / 5, 3 / 8])
    assert (objects[1].targets, objects[1].found, objects[1].frames) == (4, 4, 4)
    assert (pooled.targets, pooled.found, pooled.frames) == (5, 4, 4)
    assert objects[1].median_translation_mm == 2.5
    assert math.isnan(objects[2].median_rotation_deg)
    assert objects[2].to_json()["median_rotation_deg"] is None
    assert mean.median_translation_mm == 2.5


def test_the_interval_is_over_frames() -> None:
    """Ten objects that are right or wrong together are no more certain than one."""
    rng = np.random.default_rng(0)
    right = rng.random(60) < 0.5
    alone = [target(1.0 if ok else 50.0, 1, i) for i, ok in enumerate(right)]
    together = [target(1.0 if ok else 50.0, n, i) for n in range(10) for i, ok in enumerate(right)]
    one, many = score(alone)[1].figures["recall"], score(together)[1].figures["recall"]
    assert many.value == one.value
    widths = [figure.interval[1] - figure.interval[0] for figure in (one, many)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    expected = 2 * 1.96 * math.sqrt(one.value * (1 - one.value) / 60)
    assert widths[0] == pytest.approx(expected, rel=0.15)


def test_certain_results_have_no_width() -> None:
    figure = score([target(1.0, 1, i) for i in range(5)])[1].figures["recall"]
    assert (figure.value, figure.interval) == (1.0, (1.0, 1.0))
