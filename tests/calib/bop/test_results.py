from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib.bop.results import read_results
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.pose.bop_csv import result_line, write_results

LINE = "2,3,1,0.5,1 0 0 0 1 0 0 0 1,10 20 30.5,0.1"


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    R, t = rng.normal(size=(3, 3)), rng.normal(size=3) * 1000
    write_results(tmp_path / "r.csv", [result_line(1, 2, 3, 0.25, R, t, 0.5)] * 2)
    found = read_results(tmp_path / "r.csv")
    assert list(found) == [(1, 2, 3)] and len(found[1, 2, 3]) == 2
    one = found[1, 2, 3][0]
    assert one.score == 0.25
    np.testing.assert_allclose(one.R, R, rtol=1e-8)
    np.testing.assert_allclose(one.t, t, rtol=1e-8)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_the_header_may_be_missing(tmp_path: Path, end: str) -> None:
    (tmp_path / "r.csv").write_bytes((LINE + end).encode())
    assert read_results(tmp_path / "r.csv")[2, 3, 1][0].t[2] == 30.5
    (tmp_path / "r.csv").write_text("scene_id,im_id,obj_id,score,R,t,time\n")
    assert read_results(tmp_path / "r.csv") == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [(",0.1", ""), ("1 0 0 0", "1 0 0"), ("30.5", "nan"), ("0.5", "high"), ("2,3", "2;3")],
)
def test_broken_lines(tmp_path: Path, old: str, new: str) -> None:
    broken = LINE.replace(old, new, 1)
    (tmp_path / "r.csv").write_text(f"scene_id,im_id,obj_id,score,R,t,time\n{LINE}\n{broken}\n")
    if old == ",0.1":  # the time is not needed
        assert len(read_results(tmp_path / "r.csv")[2, 3, 1]) == 2
        return
    with pytest.raises(DataError, match="line 3"):
        read_results(tmp_path / "r.csv")


def test_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.csv")
    (tmp_path / "r.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text file"):
        read_results(tmp_path / "r.csv")
