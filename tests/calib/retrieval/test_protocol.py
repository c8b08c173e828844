"""The papers' protocol, against figures that can be told by thinking."""

from __future__ import annotations

import numpy as np
import pytest

from edgesafe.calib.retrieval.protocol import CLASSES, TASKS, EmbeddedQuadruplets, evaluate
from edgesafe.calib.retrieval.published import SAFE_TARGETS, UNSAFE_TARGETS
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import DataError, UsageError

N, D, C = 30, 40, 0.1


def shells(**radii: float) -> EmbeddedQuadruplets:
    """Record i points along axis i; each class lies on its own shell."""
    return EmbeddedQuadruplets(
        **{name: lorentz.exp_map0(radii[name] * np.eye(N, D), C) for name in CLASSES}
    )


SHELLS = {"safe_text": 0.4, "safe_image": 0.5, "unsafe_text": 0.9, "unsafe_image": 1.0}
BOUNDS = {"safe_text": 0.4, "safe_image": 0.5}


def rows_of(quadruplets: EmbeddedQuadruplets, **options: object) -> dict[tuple[str, bool], object]:
    rows = evaluate(quadruplets, "hyperbolic", curvature=C, **options)  # type: ignore[arg-type]
    return {(row.task.name, row.redirected): row for row in rows}


def test_redirection_finds_the_safe_counterpart() -> None:
    rows = rows_of(shells(**SHELLS), bounds=BOUNDS)
    assert len(rows) == len(TASKS) + 2
    for name in ("T*->IuI*", "I*->TuT*"):
        plain, moved = rows[name, False], rows[name, True]
        assert (plain.recall[1], plain.safety, plain.moved) == (0.0, 0.0, 0.0)
        assert (moved.recall[1], moved.safety, moved.moved) == (1.0, 1.0, 1.0)
        assert plain.recall[10] == 1.0 and plain.median_rank == 2
        assert moved.pool == 2 * N
    for name in ("T->I", "I->T", "T*->I*", "I*->T*", "T*->I*uI", "I*->T*uT"):
        assert rows[name, False].recall[1] == 1.0
    assert rows["T*->I*uI", False].safety == 0.0
    assert rows["T->I", False].safety is None


def test_without_bounds_nothing_moves() -> None:
    rows = rows_of(shells(**SHELLS))
    assert len(rows) == len(TASKS) and not any(redirected for _, redirected in rows)


def test_the_paper_form_moves_nothing_at_another_curvature() -> None:
    rows = evaluate(shells(**SHELLS), "hyperbolic", curvature=1.0, bounds=BOUNDS, traversal="paper")
    assert {row.moved for row in rows} == {0.0}


def test_against_loops() -> None:
    rng = np.random.default_rng(5)
    quadruplets = EmbeddedQuadruplets(
        **{name: rng.normal(size=(25, 4)).astype(np.float32) for name in CLASSES}
    )
    (row,) = (
        row
        for row in evaluate(quadruplets, "hyperbolic", curvature=1.0, ranks=(1, 3))
        if row.task.name == "T*->IuI*"
    )
    pool = np.concatenate([quadruplets.safe_image, quadruplets.unsafe_image]).astype(float)
    ranks, safe = [], []
    for i, query in enumerate(quadruplets.unsafe_text.astype(float)):
        distances = [float(lorentz.distance(query, item, 1.0)) for item in pool]
        ranks.append(1 + sum(d < distances[i] for d in distances))
        safe.append(int(np.argmin(distances)) < 25)
    assert row.recall == {1: np.mean(np.array(ranks) <= 1), 3: np.mean(np.array(ranks) <= 3)}
    assert row.safety == np.mean(safe)
    low, high = row.intervals[3]
    assert low < row.recall[3] < high


def test_cosine_does_not_see_the_radius() -> None:
    rows = {row.task.name: row for row in evaluate(shells(**SHELLS), "cosine")}
    assert rows["T->I"].recall[1] == 1.0
    # Safe and unsafe counterparts lie in the same direction: a tie, and a tie is no hit.
    assert rows["T*->IuI*"].recall[1] == 0.0 and rows["T*->I*uI"].recall[1] == 0.0
    assert rows["T*->IuI*"].recall[10] == 1.0


def test_collapsed_embeddings_do_not_score() -> None:
    same = EmbeddedQuadruplets(**{name: np.full((N, 3), 0.2) for name in CLASSES})
    for row in evaluate(same, "hyperbolic", curvature=1.0):
        assert row.recall[1] == row.recall[10] == row.recall[20] == 0.0
        assert row.safety in (None, 0.0)


def test_an_item_of_several_records_is_in_the_pool_once() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(rng.normal(size=(5, 3)), 4, axis=0)
    texts = images + 0.001
    quadruplets = EmbeddedQuadruplets(
        texts, images, texts * 3, images * 3,
        keys={"safe_image": [f"{i // 4}.jpg" for i in range(20)]},
        tags=["a"] * 15 + ["b"] * 5,
    )  # fmt: skip
    row = evaluate(quadruplets, "hyperbolic", curvature=1.0)[0]
    assert row.pool == 5 and row.queries == 20 and row.recall[1] == 1.0
    assert row.by_tag == {"a": (1.0, 15), "b": (1.0, 5)}
    alone = EmbeddedQuadruplets(texts, images, texts * 3, images * 3)
    assert evaluate(alone, "hyperbolic", curvature=1.0)[0].recall[1] == 0.0


def test_what_cannot_be_evaluated() -> None:
    good = np.ones((2, 3))
    with pytest.raises(DataError, match="shape"):
        EmbeddedQuadruplets(good, good, good, np.ones((3, 3)))
    with pytest.raises(DataError, match="finite"):
        EmbeddedQuadruplets(good, good, good, np.full((2, 3), np.nan))
    with pytest.raises(DataError, match="keys"):
        EmbeddedQuadruplets(good, good, good, good, keys={"safe_text": ["one"]})
    quadruplets = EmbeddedQuadruplets(good, good, good, good)
    with pytest.raises(UsageError, match="curvature"):
        evaluate(quadruplets, "hyperbolic")
    with pytest.raises(UsageError, match="redirected"):
        evaluate(quadruplets, "cosine", bounds=BOUNDS)
    with pytest.raises(DataError, match="direction"):
        evaluate(EmbeddedQuadruplets(good * 0, good, good, good), "cosine")


def test_a_row_is_json() -> None:
    row = rows_of(shells(**SHELLS), bounds=BOUNDS)["T*->IuI*", True]
    value = row.to_json()  # type: ignore[attr-defined]
    assert value["task"] == "T*->IuI*" and value["redirected"] and value["recall"]["1"] == 1.0


def test_the_published_rows_have_the_columns_of_the_tasks() -> None:
    names = {task.name for task in TASKS}
    for table in (SAFE_TARGETS, UNSAFE_TARGETS):
        assert "HySAC" in table
        for figures in table.values():
            assert set(figures) < names
            assert all(a <= b <= c for a, b, c in figures.values())
