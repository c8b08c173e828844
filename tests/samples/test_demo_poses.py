"""The poses of the demo: frames of coded discs that a fake network reads, and the real frames."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.calib.bop import BopDataset, BopWriter, Instance, LabelledObject
from edgesafe.calib.measure import sample_photos
from edgesafe.runtime import Moderator, PoseEstimator, write_pose_package
from edgesafe.runtime.errors import DataError, SourceError
from edgesafe.runtime.mesh import Mesh
from edgesafe.runtime.pose.result import Pose
from edgesafe.samples import pose_results
from edgesafe.samples.demo import demo
from edgesafe.samples.pose_demo import demo_poses
from edgesafe.samples.pose_picture import compare_svg
from edgesafe.samples.pose_results import (
    DETECTOR,
    TRUTH,
    estimate_frames,
    hits,
    refuse_on_purpose,
)


@pytest.fixture(scope="module")
def fakes() -> ModuleType:
    file = Path(__file__).parents[1] / "runtime" / "pose" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pose_fakes", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(fakes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames: as it is; drawn elsewhere than the truth says; not drawn at all."""
    out = tmp_path_factory.mktemp("bop") / "data"
    R, t = fakes.pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    aside = t + np.array([9.0, 0, 40.0])
    faces = np.array([[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7]])
    pictures = (
        fakes.draw_frame(R, t),
        fakes.draw_frame(R, aside),
        np.zeros((480, 640, 3), np.uint8),
    )
    with BopWriter(out, fakes.CAMERA) as writer:
        writer.add_model(1, Mesh(fakes.CORNERS, faces))
        for rgb in pictures:
            x, y, w, h = (round(value) for value in fakes.box_of(R, t))
            mask = np.zeros((480, 640), bool)
            mask[y : y + h, x : x + w] = True
            writer.add_frame(rgb, fakes.CAMERA.K, [LabelledObject(1, R, t, mask)], split="val")
    return out


@pytest.fixture(scope="module")
def packages(fakes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("packages")
    write_pose_package(folder / "plain", *fakes.pose_parts())
    parts = fakes.pose_parts(detector=fakes.detector_network())
    write_pose_package(folder / "finds", *parts)
    return SimpleNamespace(plain=folder / "plain", finds=folder / "finds")


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether every tag is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        found = [a for t, a in self.elements if t == tag]
        return [a for a in found if set(kind.split()) <= set((a.get("class") or "").split())]


@pytest.fixture
def run(
    data_folder: Path, tmp_path: Path, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, Page]]:
    monkeypatch.setattr(Moderator, "load", lambda *args, **kwargs: moderator)

    def go(*arguments: object) -> tuple[Result, Page]:
        given = ["--data", str(data_folder), "--out", str(tmp_path / "o"), *map(str, arguments)]
        result = CliRunner().invoke(demo, given)
        assert result.exit_code == 0, result.output
        return result, Page((tmp_path / "o" / "report.html").read_text(encoding="utf-8"))

    return go


def test_each_frame_is_looked_at_both_ways(packages: SimpleNamespace, frames: Path) -> None:
    found = list(estimate_frames(PoseEstimator.load(packages.finds), frames))
    assert [len(frame.by(DETECTOR)) for frame in found] == [1, 1, 1]
    assert [len(frame.by(TRUTH)) for frame in found] == [1, 1, 1]
    (right,), (off,), (absent,) = (frame.by(DETECTOR) for frame in found)
    assert right.hit
    assert right.rotation_deg is not None and right.rotation_deg < 3
    assert right.translation_mm is not None and right.translation_mm < 10
    assert not off.hit and off.pose is not None and off.pose.ok
    assert off.translation_mm == pytest.approx(41, abs=15)
    assert off.add_share == pytest.approx(41 / 150, abs=0.12)
    assert absent.pose is None and absent.truth is not None and not absent.hit
    (refused,) = found[2].by(TRUTH)
    assert refused.pose is not None and refused.pose.reason == "mask_too_small"
    assert hits(found, DETECTOR) == (1, 3) and hits(found, TRUTH) == (1, 3)
    assert set(found[0].ms) == {"decode", "detect", "crop", "network", "pnp", "refine"}
    assert all(value > 0 for value in found[0].ms.values())


def test_without_a_detector_only_the_true_boxes_are_looked_at(
    packages: SimpleNamespace, frames: Path
) -> None:
    found = list(estimate_frames(PoseEstimator.load(packages.plain), frames))
    assert [frame.by(DETECTOR) for frame in found] == [(), (), ()]
    assert hits(found, TRUTH) == (1, 3)
    assert found[0].ms["detect"] == 0


def test_what_is_found_and_not_there_is_a_row_of_its_own(fakes: ModuleType) -> None:
    R, t = fakes.pose_of((0.1, 0, 0), (0.0, 0, 600.0))
    entry = SimpleNamespace(
        name="block", diameter=100.0, keypoints=fakes.POINTS, hull=fakes.CORNERS
    )
    poses = [
        Pose(1, "block", R=R, t_mm=t + 5, confidence=0.2),
        Pose(1, "block", R=R, t_mm=t, confidence=0.9),
    ]
    symmetries = {1: np.eye(4)[None]}
    rows = list(
        pose_results._rows(poses, [Instance(1, R, t)], DETECTOR, {1: entry}, symmetries)  # type: ignore[dict-item]
    )
    assert [row.truth is None for row in rows] == [False, True]
    assert rows[0].pose is poses[1] and rows[0].add_share == pytest.approx(0, abs=1e-12)
    assert rows[1].pose is poses[0] and not rows[1].hit


def test_a_pose_that_looks_the_same_is_right(fakes: ModuleType) -> None:
    R, t = fakes.pose_of((0.4, 0.2, 0), (10.0, 0, 600.0))
    half_turn = np.diag([-1.0, -1, 1, 1])
    entry = SimpleNamespace(
        name="block", diameter=100.0, keypoints=fakes.POINTS, hull=fakes.CORNERS
    )
    pose = Pose(1, "block", R=R @ half_turn[:3, :3], t_mm=t)
    same = np.stack([np.eye(4), half_turn])
    truth = Instance(1, R, t)
    row = pose_results._judge(entry, TRUTH, pose, truth, same)  # type: ignore[arg-type]
    assert row.hit and row.rotation_deg == pytest.approx(0, abs=1e-9)
    row = pose_results._judge(entry, TRUTH, pose, truth, same[:1])  # type: ignore[arg-type]
    assert not row.hit and row.rotation_deg == pytest.approx(180, abs=1e-6)


def test_impossible_inputs_are_refused(packages: SimpleNamespace, frames: Path) -> None:
    estimator = PoseEstimator.load(packages.plain)
    frame = next(estimate_frames(estimator, frames))
    answers = {one.title: one for one in refuse_on_purpose(estimator, frame)}
    reasons = [one.reason for one in answers.values()]
    assert reasons[1:] == ["roi_outside", "bad_roi", "UsageError", "UsageError"]
    assert "calibrated for 640 x 480" in answers["A frame of another resolution than K"].detail
    assert "grey" in answers["A grey picture"].detail


def test_frames_of_other_objects_are_an_error(
    fakes: ModuleType, frames: Path, tmp_path: Path
) -> None:
    write_pose_package(tmp_path / "p", *fakes.pose_parts(objects=(7,)))
    with pytest.raises(DataError, match="shows none of the objects of tiny-pose@1"):
        next(estimate_frames(PoseEstimator.load(tmp_path / "p"), frames))


def test_the_table_has_a_line_for_every_object(
    run: Callable[..., tuple[Result, Page]], packages: SimpleNamespace, frames: Path
) -> None:
    out = run("--pose-model", packages.finds, "--pose-data", frames)[0].stdout
    assert "poses, in the boxes of the detector:" in out
    number = r"\d+\.\d+"
    right = rf"^block1 +{number} +{number} +0\.0\d\d +0\.\d\d +{number}  000000\.png$"
    assert re.search(right, out, re.M), out
    assert re.search(r"^block1 [ -]+000002\.png  \(not detected\)$", out, re.M), out
    assert (
        "poses: 1 of 3 right where the detector looks, 1 of 3 right in true boxes (ADD below a "
        "tenth of the diameter); 0 refused" in out
    )
    assert "limit of poses: reads coloured discs only" in out
    assert out.splitlines()[-1].endswith("report.html")


def test_the_report_shows_frames_and_tables(
    run: Callable[..., tuple[Result, Page]], packages: SimpleNamespace, frames: Path
) -> None:
    page = run("--pose-model", packages.finds, "--pose-data", frames)[1]
    assert page.stack == []
    assert len(page.all("article", "frame")) == 3
    assert len(page.all("img")) == 4 + 2 * 3
    assert all(a.get("alt") for a in page.all("img"))
    pictures = page.all("svg", "poses")
    assert len(pictures) == 2 + 3
    labels = [a["aria-label"] for a in pictures if "aria-label" in a]
    assert labels[0] == "True and estimated poses; 1 of the estimated ones are right"
    # Outline and axes, the solid lines of three truths and the dashed ones of two estimates.
    assert len(page.all("path", "ink true")) == 1 + 3 * 2
    assert len(page.all("path", "ink estimated")) == 1 + 2 * 2
    assert len(page.all("tr", "right")) == 2 and len(page.all("tr", "wrong")) == 4
    for text in (
        "4 photos judged, 2 poses estimated on this machine",
        "1 of 3",
        "true pose: solid",
        "estimated pose: dashed",
        "mask_too_small",
        "not detected",
        "off",
        "K: fx 572.4, fy 573.6, cx 325.3, cy 242.0 px, 640 × 480",
        "roi_outside",
        "tiny-pose@1#",
        "CC0-1.0",
        "reads coloured discs only",
    ):
        assert text in " ".join(page.text.split()), text
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for region in page.all("div", "scroll"):
        assert region["tabindex"] == "0" and region["aria-label"]


def test_the_style_tells_true_from_estimated_without_colour() -> None:
    from edgesafe.samples import report

    style = Path(report.__file__).with_name("report.css").read_text(encoding="utf-8")
    assert re.search(r"\.poses \.estimated \{ stroke-dasharray: \d", style)
    assert not re.search(r"\.true \{[^}]*dasharray", style)


def test_the_truth_alone_is_drawn_where_nothing_was_found(
    packages: SimpleNamespace, frames: Path
) -> None:
    estimator = PoseEstimator.load(packages.finds)
    *_, absent = estimate_frames(estimator, frames)
    svg = compare_svg(absent.by(DETECTOR), estimator.objects, absent.camera)
    assert "ink true" in svg and "estimated" not in svg.partition(">")[2]


def test_without_a_package_a_line_says_so(
    run: Callable[..., tuple[Result, Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgesafe.runtime

    def missing(name: str = "moderation") -> Path:
        raise SourceError("none")

    monkeypatch.setattr(edgesafe.runtime, "default_model_path", missing)
    result, page = run()
    assert "poses: left out, no pose package comes with this installation" in result.stdout
    assert not page.all("article") and "Poses" not in page.text
    assert "4 photos judged on this machine" in page.text


def test_a_package_that_was_named_must_be_there(tmp_path: Path, frames: Path) -> None:
    from edgesafe.runtime.errors import EdgesafeError

    with pytest.raises(EdgesafeError):
        demo_poses(tmp_path / "none", frames)


def test_the_sample_frames_are_whole_and_small() -> None:
    folder = sample_photos().parent / "pose"
    data = BopDataset.open(folder)
    assert len(data.frames) == 4 and not data.missing
    assert data.objects == [1, 5, 6, 8, 9, 10, 11, 12] == sorted(data.models_info)
    assert {n for n, info in data.models_info.items() if info.symmetric} == {10, 11}
    for frame in data.frames:
        assert frame.read_rgb().shape == (480, 640, 3)
        assert len(frame.instances) >= 6
        for one in frame.instances:
            assert one.bbox_visib is not None and one.visib_fract is not None
            # The origin of every part lies inside of its box.
            u, v, w = frame.K @ one.t
            x, y, width, height = one.bbox_obj or one.bbox_visib
            assert x <= u / w <= x + width and y <= v / w <= y + height
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".ply"], "the meshes are not ours"
    assert sum(path.stat().st_size for path in files) < 350_000
    attribution = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("Brachmann", "ECCV 2014", "Hinterstoisser", "ACCV 2012", "CC BY-SA 4.0"):
        assert words in attribution
