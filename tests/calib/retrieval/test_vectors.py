"""Search: the very order of the float64 distances, whatever float32 makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib.retrieval.vectors import ENGINES, Engine, Space, search
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import DataError

D = 24


def cloud(c: float, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(n, D)) / np.sqrt(D)
    return lorentz.exp_map0(u * rng.uniform(0.3, 0.9, (n, 1)), c)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "faiss":
        pytest.importorskip("faiss", reason="FAISS is not installed")
    engine: Engine = request.param
    return engine


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
def test_the_nearest_in_order(engine: Engine, c: float) -> None:
    space = Space("lorentz", D, c)
    rows = space.stored(cloud(c, 3000))
    queries = cloud(c, 4, seed=9)
    found = search(space, [rows[:1000], rows[1000:1001], rows[1001:]], queries, 7, engine=engine)
    for query, one in zip(queries, found, strict=True):
        truth = lorentz.distance(query, space.points(rows).astype(np.float64), c)
        assert one.rows.tolist() == np.argsort(truth, kind="stable")[:7].tolist()
        np.testing.assert_allclose(one.distances, truth[one.rows], rtol=1e-12)


def test_what_float32_products_cannot_tell_apart(engine: Engine) -> None:
    """A thousand points within 1e-5 of one another, at the radii of HySAC."""
    c = 0.1
    space = Space("lorentz", D, c)
    centre = cloud(c, 1)
    near = centre + 1e-5 * np.random.default_rng(3).normal(size=(1000, D))
    rows = space.stored(np.concatenate([cloud(c, 200, seed=4), near]))
    query = centre[0]
    products = rows @ space.queries(query[None])[0]
    truth = lorentz.distance(query, space.points(rows).astype(np.float64), c)
    best = np.argsort(truth, kind="stable")[:10]
    assert np.argsort(-products, kind="stable")[:10].tolist() != best.tolist()
    (found,) = search(space, [rows], query[None], 10, engine=engine)
    assert found.rows.tolist() == best.tolist()


def test_the_product_is_the_lorentz_product() -> None:
    space = Space("lorentz", D, 0.5)
    x, y = cloud(0.5, 2)
    product = float(space.stored(x[None])[0].astype(float) @ space.queries(y[None])[0])
    shift = float(np.sqrt(1 / 0.5 + y @ y) / np.sqrt(0.5))
    assert product - shift == pytest.approx(float(lorentz.inner(x, y, 0.5)), abs=1e-6)


def test_cosine(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    space = Space("euclidean", D)
    x, q = rng.normal(size=(500, D)), rng.normal(size=(3, D)) * 9
    rows = space.stored(x)
    for query, one in zip(q, search(space, [rows], q, 5, engine=engine), strict=True):
        wide = rows.astype(np.float64)
        cosine = wide @ query / np.linalg.norm(query) / np.linalg.norm(wide, axis=1)
        assert one.rows.tolist() == np.argsort(-cosine)[:5].tolist()
        np.testing.assert_allclose(one.distances, 1 - cosine[one.rows], atol=1e-12)


def test_only_some_rows_count(engine: Engine) -> None:
    space = Space("lorentz", D, 1.0)
    rows = space.stored(cloud(1.0, 100))
    keep = np.zeros(100, bool)
    keep[[5, 50, 95]] = True
    (found,) = search(
        space, [rows[:60], rows[60:]], cloud(1.0, 1, seed=2), 10, keep=keep, engine=engine
    )
    assert sorted(found.rows.tolist()) == [5, 50, 95]
    (none,) = search(space, [rows], rows[:1, :D], 3, keep=np.zeros(100, bool), engine=engine)
    assert len(none.rows) == 0


def test_equal_rows_in_their_order(engine: Engine) -> None:
    space = Space("lorentz", D, 1.0)
    rows = space.stored(np.repeat(cloud(1.0, 1), 40, axis=0))
    (found,) = search(space, [rows], cloud(1.0, 1, seed=2), 3, engine=engine)
    assert found.rows.tolist() == [0, 1, 2]


def test_a_damaged_row_is_near_to_nothing(engine: Engine) -> None:
    space = Space("lorentz", D, 1.0)
    rows = space.stored(cloud(1.0, 30))
    rows[7, 3] = np.nan
    rows[8, 3] = np.inf
    (found,) = search(space, [rows], cloud(1.0, 1, seed=2), 30, engine=engine)
    assert sorted(found.rows.tolist()) == [i for i in range(30) if i not in (7, 8)]


def test_an_empty_index_and_mapped_rows(tmp_path: Path) -> None:
    space = Space("lorentz", D, 1.0)
    (none,) = search(space, [], cloud(1.0, 1), 3)
    assert len(none.rows) == 0
    rows = space.stored(cloud(1.0, 50))
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", "<f4", "r", shape=rows.shape)
    (found,) = search(space, [mapped], space.points(rows[20:21]), 1)
    assert found.rows.tolist() == [20] and found.distances[0] == 0


def test_what_cannot_be_stored() -> None:
    with pytest.raises(DataError, match="finite"):
        Space("lorentz", 2, 1.0).stored(np.array([[1.0, np.nan]]))
    with pytest.raises(DataError, match="direction"):
        Space("euclidean", 2).stored(np.zeros((1, 2)))
    with pytest.raises(DataError, match="dimensions"):
        Space("lorentz", 3, 1.0).stored(np.zeros((1, 2)))
