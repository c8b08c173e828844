"""The experiment on the synthetic twin, tiny; its pictures; and how its outcome is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgesafe.calib.board import MarkerBoard
from edgesafe.calib.markers.counterfactual_dataset import read_sets
from edgesafe.calib.markers.detect import MarkerFinder, find_board_pose
from edgesafe.calib.ungated_pose import ungated_pose
from edgesafe.runtime.errors import DataError
from edgesafe.runtime.mesh import write_ply
from edgesafe.runtime.pose.crop import RoiCrop
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.samples import marker_cure
from edgesafe.samples.marker_cure import NETWORKS, main, split_photos
from edgesafe.samples.twin.board import board_json, linemod_board
from edgesafe.samples.twin.part import painted_part, read_part
from edgesafe.samples.twin.pictures import TWIN_KINDS, Painter
from edgesafe.samples.twin.samples import REGIMES, make_pool
from edgesafe.samples.twin.table import markdown, targets_of
from edgesafe.samples.twin.views import HEIGHT, WIDTH, K, draw_view
from edgesafe.train.pose.checkpoint import load_pose_checkpoint


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(read_part(None), linemod_board(), None, 3)


def test_everything_is_trained_and_audited(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    words = ["--quick", "--work", str(tmp_path), "--only", "vote-cured-0,direct-biased"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "marker_cure.json").read_text())
    assert set(report["training"]) == {"vote-cured-0", "direct-biased-0"}
    assert set(report["audit"]["networks"]) == {"vote cured", "direct biased"}
    for one in report["audit"]["networks"].values():
        assert set(one["sets"]) == set(TWIN_KINDS)
        assert one["saliency"]["orig"]["gradient"]["marker_mass"]["value"] is not None
    assert report["photos"]["training"] > report["photos"]["test"] > 0
    assert "| vote cured |" in (tmp_path / "marker_cure.md").read_text()
    assert "noboard" in (tmp_path / "report.html").read_text()
    assert read_sets(tmp_path / "sets").marker_mask("orig", (0, 0)) is not None
    board = MarkerBoard.read(tmp_path / "board.json")
    assert len(board.markers) == 20
    checkpoint = load_pose_checkpoint(tmp_path / "vote-cured-0")
    assert checkpoint.data["shares"] == REGIMES["cured"].shares
    assert checkpoint.networks[0].metrics["steps"] >= 1
    # What is there is not made again.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/model.safetensors")}
    assert len(before) == 2
    assert CliRunner().invoke(main, words).exit_code == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}
    wrong = CliRunner().invoke(main, ["--quick", "--work", str(tmp_path), "--only", "nobody"])
    assert "there are vote-biased-0" in str(wrong.exception)


def test_each_regime_has_its_networks() -> None:
    groups = [one.group for one in NETWORKS]
    for regime in REGIMES:
        assert groups.count(f"vote {regime}") == 3 and groups.count(f"direct {regime}") == 1


def test_the_board_is_found_where_it_was_drawn(painter: Painter) -> None:
    board = linemod_board()
    finder = MarkerFinder.of_board(board)
    camera = Camera(K * [[2], [2], [1]], 2 * WIDTH, 2 * HEIGHT)
    found = 0
    for number in range(4):
        view = draw_view(painter.part, painter.seed, number)
        part = painter.see(view, camera.K, camera.width, camera.height)
        for kind in ("orig", "conflict"):
            drawn = painter.draw(kind, view, part, camera.K)
            pose = find_board_pose(finder.find(drawn.rgb), board, camera)
            if pose is not None:
                found += 1
                assert drawn.shown is not None
                assert np.allclose(pose.matrix[:3, :3], drawn.shown[:3, :3], atol=0.05)
                assert np.allclose(pose.matrix[:3, 3], drawn.shown[:3, 3], rtol=0.02, atol=15)
        erased = painter.draw("erased", view, part, camera.K)
        assert not len(finder.find(erased.rgb).ids) and erased.shown is None
    assert found >= 6


def test_only_what_a_kind_is_about_differs(painter: Painter) -> None:
    view = draw_view(painter.part, painter.seed, 1)
    part = painter.see(view, K, WIDTH, HEIGHT)
    assert 200 < part.mask.sum() < 20_000
    pictures = {kind: painter.draw(kind, view, part, K) for kind in TWIN_KINDS}
    orig, erased = pictures["orig"], pictures["erased"]
    assert orig.markers is not None and erased.markers is None
    apart = np.abs(orig.rgb.astype(int) - erased.rgb).max(axis=2) > 12
    assert apart[orig.markers].mean() > 0.4
    near = np.abs(orig.rgb.astype(int) - pictures["conflict"].rgb).max(axis=2)
    assert (near[part.share > 0.99] <= 12).mean() > 0.95
    assert pictures["noboard"].shown is None and pictures["scattered"].markers is not None
    again = painter.draw("noboard", view, part, K)
    assert np.array_equal(again.rgb, pictures["noboard"].rgb)


def test_samples_tell_the_pose_that_was_drawn(painter: Painter) -> None:
    pool = make_pool(painter, REGIMES["cured"], 6, 3)
    assert pool["pixels"].shape == (6, 96, 96, 3) and pool["mask"].shape == (6, 1, 12, 12)
    # A region that is its own frame: what the labels say is the pose of another camera's view.
    known = painter.part.known
    view = draw_view(painter.part, painter.seed, 0)
    roi = RoiCrop.from_box(view.box, 3.0, 96)
    keypoints = (known.keypoints @ view.R.T + view.t) @ K.T
    told = {
        "keypoints": roi.to_crop(keypoints[:, :2] / keypoints[:, 2:]),
        "covariance": np.tile([1.0, 0, 1], (len(keypoints), 1)),
    }
    pose = ungated_pose(told, known.keypoints, roi, K)
    assert pose is not None and np.allclose(pose[0], view.R, atol=1e-3)
    # Both heads are told the same: the centre is the projection of the object's origin.
    assert (np.abs(pool["centre"][:, 0] - pool["keypoints"][:, 0].mean(axis=1)) < 20).all()
    assert (np.abs(np.linalg.det(pool["rotation"][:, 0]) - 1) < 1e-4).all()
    assert (pool["mask"].reshape(6, -1).sum(axis=1) > 2).all()


def test_the_board_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(json.dumps(board_json(linemod_board())))
    read, known = MarkerBoard.read(path), linemod_board()
    assert (read.pitch, read.side, read.border_bits) == (98, 79, 2)
    for one, two in zip(read.markers, known.markers, strict=True):
        assert one.centre == two.centre and np.array_equal(one.bits, two.bits)
    assert round(read.free_half) == 196 and read.half == 294


def test_a_mesh_is_put_about_its_middle(tmp_path: Path) -> None:
    mesh = painted_part()
    path = tmp_path / "knob.ply"
    write_ply(path, type(mesh)(mesh.vertices + 500, mesh.faces))
    part = read_part(path)
    assert part.known.name == "knob" and np.abs(part.mesh.minimum + part.mesh.size / 2).max() < 1
    lowest = part.mesh.vertices @ part.on_board[:3, :3].T + part.on_board[:3, 3]
    assert abs(lowest[:, 2].max()) < 1e-6
    write_ply(path, mesh.scaled(10))
    with pytest.raises(DataError, match="must be in millimetres"):
        read_part(path)


def test_photos_of_the_tests_are_not_trained_on(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    train, test = split_photos([tmp_path])
    assert len(train) + len(test) == 40 and not set(train) & set(test)
    (tmp_path / "40.jpg").write_bytes(b"")
    later, _ = split_photos([tmp_path])
    assert set(train) <= set(later)
    with pytest.raises(DataError, match="too few to train on"):
        split_photos([tmp_path / "nowhere"])
    assert all(split_photos([marker_cure.PHOTOS]))


def figures(orig: float, erased: float, noboard: float) -> dict[str, Any]:
    def accuracy(value: float) -> dict[str, Any]:
        return {"accuracy": {"value": value}, "by_seed": [value, value],
                "kept": {"value": value / orig}}  # fmt: skip

    sets = {kind: accuracy(orig) for kind in TWIN_KINDS}
    sets |= {"erased": accuracy(erased), "noboard": accuracy(noboard)}
    shift = {"erased": {"rotation_deg": {"value": 3.25}}}
    return {"sets": sets, "pose_shift": shift, "saliency": {}}


def test_targets_are_read_off_the_audit() -> None:
    networks = {
        "vote biased": figures(0.9, 0.1, 0.02),
        "vote erase-only": figures(0.8, 0.6, 0.2),
        "vote cured": figures(0.8, 0.8, 0.72),
    }
    met = [target.met for target in targets_of(networks)]
    assert met == [True, True, False, False, True, True]
    assert targets_of(networks)[2].line().startswith("MISSED vote erase-only is right on erased")
    table = markdown(networks)
    row = next(line for line in table.splitlines() if line.startswith("| vote cured"))
    assert "| 72.0 (72-72) |" in row and "| 0.90 | 3.2° |" in row
