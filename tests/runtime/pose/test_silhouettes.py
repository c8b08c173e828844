"""The file with an object's outlines: read back, and refused where it is another thing."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edgesafe.runtime import PackageError
from edgesafe.runtime.pose.silhouettes import (
    pack_silhouettes,
    parse_silhouettes,
    view_directions,
)


def _views(count: int = 40, points: int = 24) -> np.ndarray:
    views = np.zeros((count, points, 4), np.float16)
    views[..., :3] = np.random.default_rng(0).normal(0, 50, (count, points, 3))
    views[:, 16:, 3] = 1
    return views


def test_what_is_written_is_read() -> None:
    views = _views()
    found = parse_silhouettes(pack_silhouettes(views), "file", np.array([1.0, 2, 3]))
    assert np.allclose(found.points, views[..., :3].astype(float) + [1, 2, 3])
    assert found.after[5].tolist() == [*range(1, 16), 0, *range(17, 24), 16]
    assert found.before[5].tolist() == [15, *range(15), 23, *range(16, 23)]
    assert found.loops[5].tolist() == [0] * 16 + [1] * 8
    assert found.centre.tolist() == [1, 2, 3]


def test_directions_are_spread_evenly() -> None:
    directions = view_directions(400)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert np.abs(directions.mean(axis=0)).max() < 0.01
    nearest = np.sort(directions @ directions.T, axis=1)[:, -2]
    angle = np.degrees(np.arccos(nearest))
    assert 7 < angle.min() and angle.max() < 12


def _saved(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def _changed(place: tuple, value: float) -> bytes:
    views = _views()
    views[place] = value
    return pack_silhouettes(views)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no float16 array"),
        (b"PK\x03\x04" + bytes(100), "no float16 array"),
        (pack_silhouettes(_views())[:-1], "no float16 array"),
        (pack_silhouettes(_views())[:40], "no float16 array"),
        (_saved(_views().astype(np.float32)), "no float16 array"),
        (_saved(_views()[..., :3]), "no float16 array"),
        (_saved(np.array([{"a": 1}], dtype=object), allow_pickle=True), "no float16 array"),
        (pack_silhouettes(_views(8)), "8 views of 24 points"),
        (pack_silhouettes(_views(40, 20)), "40 views of 20 points"),
        (_changed((3, 3, 1), np.nan), "finite"),
        (_changed((3, 3, 1), np.inf), "finite"),
        (_changed((3, 0, 3), 1), "counted from 0"),
        (_changed((3, slice(16, None), 3), 2), "counted from 0"),
        (_changed((3, 23, 3), 2), "loops of 3 points"),
    ],
)
def test_anything_else_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(PackageError, match=words) as caught:
        parse_silhouettes(data, "pkg/silhouettes-000001.npy", np.zeros(3))
    assert "pkg/silhouettes-000001.npy" in str(caught.value)


@pytest.mark.parametrize(
    "header", ["((((", "{[]:1}", "{'descr': (), 'fortran_order': False, 'shape': (1,)}", "\\"]
)
def test_a_header_that_is_none_is_refused(header: str) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    with pytest.raises(PackageError, match="no float16 array"):
        parse_silhouettes(data, "f", np.zeros(3))


def test_a_header_that_promises_too_much_is_refused() -> None:
    data = pack_silhouettes(_views())
    with pytest.raises(PackageError, match="no float16 array"):
        parse_silhouettes(data.replace(b"(40, 24, 4)", b"(4000000000, 24, 4)"), "f", np.zeros(3))
