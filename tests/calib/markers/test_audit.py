from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.calib.bop.results import Estimate, Estimates
from edgesafe.calib.markers.audit import audit_sets
from edgesafe.calib.markers.audit_figures import Hits, recall
from edgesafe.calib.markers.counterfactual_dataset import Sets, read_sets
from edgesafe.calib.markers.markers_cmd import markers
from edgesafe.calib.markers.networks import FunctionRun
from edgesafe.calib.markers.saliency_maps import read_maps, score_maps
from edgesafe.calib.markers.verdict import judge_network
from edgesafe.runtime.errors import DataError, UsageError
from edgesafe.runtime.pose.bop_csv import result_line, write_results

Key = tuple[int, int]


class Pretender:
    """A network that the test knows: it is told the truth and what the markers tell."""

    def __init__(self, sets: Sets, manner: str, seed: int = 0) -> None:
        self.sets, self.manner = sets, manner
        self.rng = np.random.default_rng(seed)

    identity = "pretender"
    objects = None

    def has(self, kind: str) -> bool:
        return True

    def estimates(self, kind: str, data: Any, objects: Any, min_visib: float) -> Estimates:
        found = {}
        for frame in data.frames:
            made = self.sets.made[kind][frame.key]
            one = frame.instances[0]
            R, t = one.R, one.t + self.rng.normal(0, 0.5, 3)
            lost = False
            if self.manner == "reader":
                lost = made.shown is None
                if made.shown is not None:
                    motion = made.shown @ np.linalg.inv(made.true)
                    R, t = motion[:3, :3] @ R, motion[:3, :3] @ t + motion[:3, 3]
            if self.manner == "board":
                lost = kind in ("noboard", "scattered", "board_removed")
            if self.manner == "blind":
                lost = True
            if lost:
                R, t = np.diag([-1.0, -1.0, 1.0]) @ R, t + [60, 0, 0]
            found[(*frame.key, 1)] = [Estimate(1.0, R, t)]
        return found


@pytest.fixture(scope="module")
def sets(cube_sets: Path) -> Sets:
    return read_sets(cube_sets)


@pytest.mark.parametrize(
    ("manner", "code"),
    [
        ("reader", "reads_markers"),
        ("board", "needs_board"),
        ("blind", "too_inaccurate"),
    ],
)
def test_the_verdict_on_networks_whose_manner_is_known(sets: Sets, manner: str, code: str):
    found = audit_sets(sets, {manner: [Pretender(sets, manner)]}).networks[0]
    verdict = judge_network(found)
    assert verdict.code == code and manner in verdict.sentence
    if manner == "reader":
        assert found.accuracy["orig"].value == 1 and found.accuracy["erased"].value == 0
        assert found.gap is not None and found.gap.value == 1
        assert found.control_gap is not None and found.control_gap.value == 0
        assert found.net_gap is not None and found.net_gap.value == 1
        assert found.shift["erased"].rotation_deg.value > 90
        assert found.shift["random_patch"].rotation_deg.value < 1
        for kind in ("conflict", "swapped"):
            assert found.follow[kind].nearer.value == found.follow[kind].lands.value == 1
    if manner == "board":
        assert found.gap is not None and found.gap.value == 0
        assert found.kept["noboard"].value == 0
        assert found.follow["conflict"].nearer.value == 0


def test_five_frames_are_too_few_to_acquit_and_many_are_not(sets: Sets):
    found = audit_sets(sets, {"honest": [Pretender(sets, "honest")]}).networks[0]
    assert found.accuracy["noboard"].value == 1
    # All of five: the exact interval, not the bootstrap's, which has no width.
    low = found.accuracy["noboard"].low
    assert low == pytest.approx(0.025 ** (1 / 5), abs=1e-6)
    assert judge_network(found).code == "no_reliance"


def test_seeds_count_as_one_network(sets: Sets):
    runs = [Pretender(sets, "honest", 0), Pretender(sets, "blind", 1)]
    found = audit_sets(sets, {"both": runs}).networks[0]
    assert found.by_seed["orig"] == [1.0, 0.0] and found.accuracy["orig"].value == 0.5
    assert found.accuracy["orig"].low == 0 and found.accuracy["orig"].high == 1


def test_any_function_can_be_audited(sets: Sets):
    asked = []

    def always_the_same(rgb: Any, K: Any, wanted: Any) -> Iterator[tuple[int, Any, Any, float]]:
        asked.append((rgb.shape, K.shape, wanted))
        yield 1, np.eye(3), [0, 0, 500], 0.5

    run = FunctionRun(always_the_same, "constant")
    found = audit_sets(sets, {"constant": [run]}).networks[0]
    assert len(asked) == 5 * len(sets.kinds)
    assert asked[0][0] == (240, 320, 3) and asked[0][2][0][0] == 1
    # The label-free shift of a network that never looks is zero, and proves nothing.
    assert found.shift["erased"].rotation_deg.value == 0
    assert judge_network(found).code == "too_inaccurate"


def test_nobody_to_audit(sets: Sets):
    with pytest.raises(UsageError, match="no network"):
        audit_sets(sets, {})
    with pytest.raises(UsageError, match="objects 9"):
        audit_sets(sets, {"a": [Pretender(sets, "blind")]}, objects=[9])


def test_intervals_get_narrower_with_frames():
    rng = np.random.default_rng(0)
    widths = []
    for n in (10, 160):
        table = np.stack([rng.random(n) < 0.6, np.ones(n)], axis=1)[None].astype(float)
        found = recall(Hits(table))
        assert found.low < found.value < found.high and found.n == n
        widths.append(found.high - found.low)
    assert widths[1] < 0.5 * widths[0]


def write_csvs(sets: Sets, manner: str, out: Path) -> Path:
    out.mkdir()
    run = Pretender(sets, manner)
    for kind in sets.kinds:
        estimates = run.estimates(kind, sets.open(kind), [1], 0.1)
        write_results(
            out / f"{kind}.csv",
            [result_line(*key, one.score, one.R, one.t) for key, (one,) in estimates.items()],
        )
    return out


def write_maps(sets: Sets, out: Path, where: str) -> Path:
    """Maps that look at the markers, or at the object alone."""
    for frame in list(sets.open("orig").frames)[:2]:
        path = sets.marker_mask("orig", frame.key)
        assert path is not None
        from edgesafe.calib.bop.frame import read_picture

        mask = (read_picture(path)[..., 0] > 0).astype(np.float32)
        x, y, w, h = frame.instances[0].bbox_visib or (0, 0, 1, 1)
        if where == "object":
            mask[:] = 0
            mask[round(y + h / 2) - 6 : round(y + h / 2) + 6, round(x + w / 2) - 6 :][:, :12] = 1
        (out / "orig").mkdir(parents=True, exist_ok=True)
        name = f"{frame.scene_id:06d}_{frame.im_id:06d}_000001.npz"
        np.savez(out / "orig" / name, box=[0, 0, 320, 240], gradient=mask[::2, ::2] * 3)
    return out


def test_a_report_from_result_files(cube_sets: Path, sets: Sets, tmp_path: Path):
    reader = write_csvs(sets, "reader", tmp_path / "csv")
    board = write_csvs(sets, "board", tmp_path / "csv2")
    maps = write_maps(sets, tmp_path / "maps", "markers")
    out = tmp_path / "report.html"
    result = CliRunner().invoke(
        markers,
        ["audit", "--results", f"a<b={reader}", "--results", f"fine={board}", "--data",
         str(cube_sets), "--out", str(out), "--two-by-two", "a<b,fine", "--saliency",
         f"a<b={maps}"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "a<b reads the markers" in result.stdout and "fine does not need" in result.stdout
    page = out.read_text()
    for word in ("a&lt;b reads the markers", "proves nothing", "trained with markers: a&lt;b",
                 "random_patch", "data:image/jpeg;base64,", "<svg",
                 "default-src 'none'"):  # fmt: skip
        assert word in page, word
    for word in ("a<b", "http://", "https://", "<script", 'src="/'):
        assert word not in page, word
    report = json.loads(out.with_suffix(".json").read_bytes())
    one = report["networks"]["a<b"]
    assert one["verdict"] == "reads_markers"
    assert one["sets"]["orig"]["accuracy"]["value"] == 1
    assert one["saliency"]["orig"]["gradient"]["marker_mass"]["value"] > 0.8


def test_saliency_on_the_markers_and_on_the_object_is_told_apart(sets: Sets, tmp_path: Path):
    found = {
        where: score_maps(sets, read_maps(write_maps(sets, tmp_path / where, where)))
        for where in ("markers", "object")
    }
    on_markers = found["markers"]["orig"].scores["gradient"]
    on_object = found["object"]["orig"].scores["gradient"]
    assert on_markers.marker_mass.value > 0.9 and on_markers.marker_lift.value > 2
    assert on_object.object_mass.value > 0.9 and on_object.object_lift.value > 5
    assert on_object.marker_mass.value < 0.05


def test_maps_that_cannot_be(sets: Sets, tmp_path: Path):
    with pytest.raises(DataError, match="holds no maps"):
        read_maps(tmp_path)
    (tmp_path / "orig").mkdir()
    path = tmp_path / "orig/000004_000000_000001.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="write the maps again"):
        read_maps(tmp_path)
    np.savez(path, gradient=np.ones((4, 4)))
    with pytest.raises(DataError, match="must hold box"):
        read_maps(tmp_path)
    np.savez(path, box=[0, 0, 9, 9], gradient=np.ones((4, 4)))
    path.rename(path.with_name("000004_000099_000001.npz"))
    with pytest.raises(DataError, match="no such one"):
        score_maps(sets, read_maps(tmp_path))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ([], "name a network"),
        (["--results", "nowhere"], "orig.csv"),
        (["--results", "=x"], "NAME=PATH"),
    ],
)
def test_what_the_command_refuses(options: list[str], word: str, cube_sets: Path, tmp_path: Path):
    command = ["audit", "--data", str(cube_sets), "--out", str(tmp_path / "r.html"), *options]
    with pytest.raises((UsageError, DataError), match=word):
        CliRunner().invoke(markers, command, catch_exceptions=False)


def test_a_data_set_needs_its_board(cube_frames: Path, sets: Sets, tmp_path: Path):
    results = write_csvs(sets, "blind", tmp_path / "csv")
    command = ["audit", "--data", str(cube_frames), "--results", str(results), "--out",
               str(tmp_path / "r.html")]  # fmt: skip
    with pytest.raises(UsageError, match="--board"):
        CliRunner().invoke(markers, command, catch_exceptions=False)


def test_sets_are_made_on_the_way(cube_frames: Path, sets: Sets, tmp_path: Path):
    results = write_csvs(sets, "honest", tmp_path / "csv")
    command = ["audit", "--data", str(cube_frames), "--results", str(results), "--board",
               "grid:4x4:40:12:DICT_4X4_50", "--kinds", "erased", "--out", str(tmp_path / "r"),
               "--sets", str(tmp_path / "sets"), "--json"]  # fmt: skip
    result = CliRunner().invoke(markers, command, catch_exceptions=False)
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("{"))
    one = json.loads(line)["networks"]["csv"]
    assert one["verdict"] == "no_board_free_set" and set(one["sets"]) == {"orig", "erased"}
    assert read_sets(tmp_path / "sets").kinds == ("orig", "erased")
    assert (tmp_path / "r/report.html").is_file() and (tmp_path / "r/report.json").is_file()
