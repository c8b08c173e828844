"""A pose package whose networks read the answer off the frame, and frames that hold it.

Keypoint k is a disc of the colour (25 (k + 1), 255, b); b is 255 where the object is, which is the
mask. The detector's heat is high at a disc of the colour (255, 0, 255).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesafe.runtime.files import canonical_json
from edgesafe.runtime.package import PosePackage, write_pose_package
from edgesafe.runtime.pose.golden import golden_pair
from edgesafe.runtime.pose.intrinsics import Camera
from edgesafe.runtime.pose.pnp import rotation_exp
from edgesafe.runtime.preprocess import Preprocess

SIZE, CELLS = 128, 16
K_POINTS = 9
CAMERA = Camera(np.array([[572.4, 0, 325.3], [0, 573.6, 242.0], [0, 0, 1.0]]), 640, 480)
CORNERS = 40.0 * np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1.2, 1.2) for z in (-0.8, 0.8)], dtype=np.float64
)
POINTS = np.vstack([[0.0, 0.0, 0.0], CORNERS])
DETECTOR = (160, 128)  # width, height


def pose_of(omega: tuple[float, float, float], t: tuple[float, float, float]):
    return rotation_exp(np.array(omega)), np.array(t, dtype=np.float64)


def angle(R: np.ndarray, other: np.ndarray) -> float:
    """Between two rotations, degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(R @ other.T) - 1) / 2, -1, 1))))


def draw_frame(
    R: np.ndarray, t: np.ndarray, camera: Camera = CAMERA, order: list[int] | None = None
) -> np.ndarray:
    """A frame with coded keypoints; the object's hull is blue."""
    import cv2

    frame = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    pixels = camera.project(POINTS @ R.T + t)
    hull = cv2.convexHull(pixels.astype(np.float32))
    cv2.fillConvexPoly(frame, np.rint(hull).astype(np.int32), (0, 0, 255))
    cv2.circle(frame, tuple(map(int, np.rint(pixels.mean(axis=0)))), 12, (255, 0, 255), -1)
    for k, (u, v) in enumerate(pixels if order is None else pixels[order]):
        place = (round(u * 16), round(v * 16))
        cv2.circle(frame, place, 5 * 16, (25 * (k + 1), 255, 255), -1, cv2.LINE_AA, 4)
    return frame


def box_of(R: np.ndarray, t: np.ndarray, camera: Camera = CAMERA) -> tuple[float, ...]:
    pixels = camera.project(POINTS @ R.T + t)
    low, high = pixels.min(axis=0) - 5, pixels.max(axis=0) + 5
    return (*low, *(high - low))


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def near(self, plane: str, level: Any, width: float) -> str:
        off = self.add("Abs", self.add("Sub", plane, self.constant(level)))
        share = self.add("Mul", off, self.constant(1 / width))
        return self.add("Relu", self.add("Sub", self.constant(1.0), share))

    def channel(self, index: int) -> str:
        bounds = [self.constant([i], np.int64) for i in (index, index + 1, 1)]
        return self.add("Slice", "image", *bounds)

    def build(self, shape: list[Any], outputs: dict[str, int], more: list[Any] = ()) -> bytes:
        floats = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "fake",
            [helper.make_tensor_value_info("image", floats, shape), *more],
            [
                helper.make_tensor_value_info(name, floats, [None] * rank)
                for name, rank in outputs.items()
            ],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _each(graph: _Graph, value: np.ndarray, output: str) -> None:
    """``value`` for every picture of the batch."""
    zero = graph.add("ReduceMean", graph.channel(0), axes=[1, 2, 3], keepdims=0)
    zero = graph.add("Mul", zero, graph.constant(0.0))
    shape = graph.constant([-1] + [1] * value.ndim, np.int64)
    graph.add("Add", graph.add("Reshape", zero, shape), graph.constant(value[None]), output=output)


def vote_network(size: int = SIZE, objects: int = 1, covariance: float = 0.25) -> bytes:
    g = _Graph()
    levels = np.array([25 * (k + 1) / 255 for k in range(K_POINTS)])[None, :, None, None]
    lit = g.add("Mul", g.near(g.channel(0), levels, 0.04), g.near(g.channel(1), 1.0, 0.1))
    y, x = np.mgrid[:size, :size]
    weight = g.add("ReduceSum", lit, g.constant([2, 3], np.int64), keepdims=0)
    weight = g.add("Add", weight, g.constant(1e-6))
    parts = []
    for grid in (x, y):
        moment = g.add("Mul", lit, g.constant(grid[None, None]))
        moment = g.add("ReduceSum", moment, g.constant([2, 3], np.int64), keepdims=0)
        parts.append(g.add("Unsqueeze", g.add("Div", moment, weight), g.constant([2], np.int64)))
    g.add("Concat", *parts, axis=2, output="keypoints")
    _each(g, np.tile([covariance, 0.0, covariance], (K_POINTS, 1)), "covariance")
    g.add("AveragePool", g.channel(2), output="mask", kernel_shape=[8, 8], strides=[8, 8])
    more = []
    if objects > 1:
        more = [helper.make_tensor_value_info("object", TensorProto.INT64, ["batch"])]
    outputs = {"keypoints": 3, "covariance": 3, "mask": 4}
    if objects > 1:  # used, so that it stays an input
        seen = g.add("Cast", "object", to=TensorProto.FLOAT)
        g.add("Identity", seen, output="seen")
        outputs["seen"] = 1
    return g.build(["batch", 3, size, size], outputs, more)


def direct_network(
    rotation: np.ndarray, centre: tuple[float, float], log_scale: float, size: int = SIZE
) -> bytes:
    g = _Graph()
    _each(g, np.asarray(rotation), "rotation")
    _each(g, np.asarray(centre), "centre")
    _each(g, np.asarray(log_scale), "log_scale")
    g.add("AveragePool", g.channel(2), output="mask", kernel_shape=[8, 8], strides=[8, 8])
    outputs = {"rotation": 3, "centre": 2, "log_scale": 1, "mask": 4}
    return g.build(["batch", 3, size, size], outputs)


def detector_network(reach: float = 28.0, objects: int = 1) -> bytes:
    width, height = DETECTOR
    g = _Graph()
    lit = g.add("Mul", g.near(g.channel(0), 1.0, 0.2), g.near(g.channel(1), 0.0, 0.2))
    heat = g.add("AveragePool", lit, kernel_shape=[8, 8], strides=[8, 8])
    heat = g.add("Min", g.add("Mul", heat, g.constant(6.0)), g.constant(1.0))
    g.add("Concat", *[heat] * objects, axis=1, output="heat")
    _each(g, np.full((4, height // 8, width // 8), reach), "box")
    return g.build(["batch", 3, height, width], {"heat": 4, "box": 4})


def preprocess(width: int, height: int) -> dict[str, Any]:
    return Preprocess(height, width, "stretch", "bilinear", (0, 0, 0), (1, 1, 1)).to_dict()


def object_fields(number: int = 1, name: str = "block") -> dict[str, Any]:
    low, high = CORNERS.min(axis=0), CORNERS.max(axis=0)
    return {
        "id": number,
        "name": name,
        "diameter": float(np.linalg.norm(high - low)),
        "extent": {"min": low.tolist(), "size": (high - low).tolist()},
        "keypoints": POINTS.tolist(),
        "hull": CORNERS.tolist(),
        "symmetries_discrete": [],
        "symmetries_continuous": [],
    }


def pose_parts(
    network: bytes | None = None,
    head: str = "vote",
    objects: tuple[int, ...] = (1,),
    detector: bytes | None = None,
    gates: dict[str, float] | None = None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest fields and files of a small valid package."""
    network = network or vote_network(objects=len(objects))
    model = {"opset": 17, "precision": "fp32", "storage": "fp32", "stride": 8}
    fields: dict[str, Any] = {
        "kind": "pose",
        "name": "tiny-pose",
        "release": 1,
        "minimum_runtime": "0.1.0",
        "objects": [object_fields(n, f"block{n}") for n in objects],
        "networks": [
            {
                "file": "pose.onnx",
                "head": head,
                "objects": list(objects),
                "size": SIZE,
                "roi_scale": 1.5,
                "preprocess": preprocess(SIZE, SIZE),
                **model,
            }
        ],
        "gates": {
            "min_mask_px": 100.0,
            "max_mahalanobis": 3.0,
            "min_confidence": 0.05,
            "max_reprojection_px": 5.0,
            "near_mm": 100.0,
            "far_mm": 3000.0,
            **(gates or {}),
        },
        "golden": {"file": "golden.json"},
        "parity": {"pose.onnx": {"max_relative_error": 1e-6, "n": 4}},
        "weights": {"licence": "CC0-1.0", "origin": ["written by hand"], "notice": ""},
        "intended_use": "tests",
        "limits": ["reads coloured discs only"],
        "training": {},
    }
    crop = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    golden: dict[str, Any] = {
        "tolerances": {"outputs": 0.01},
        "roi": [
            golden_pair(crop, run_model(network, crop, index if len(objects) > 1 else None), number)
            for index, number in enumerate(objects)
        ],
    }
    files = {"pose.onnx": network}
    if detector is not None:
        width, height = DETECTOR
        fields["detector"] = {
            "file": "detector.onnx",
            "width": width,
            "height": height,
            "objects": list(objects),
            "max_per_object": 1,
            "min_score": 0.2,
            "preprocess": preprocess(width, height),
            **model,
        }
        image = np.zeros((height, width, 3), dtype=np.uint8)
        golden["detector"] = [golden_pair(image, run_model(detector, image))]
        files["detector.onnx"] = detector
    files["golden.json"] = canonical_json(golden)
    return fields, files


def run_model(model: bytes, pixels: np.ndarray, index: int | None = None) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = {"image": np.moveaxis(pixels[None].astype(np.float32) / 255, -1, 1)}
    if index is not None:
        inputs["object"] = np.array([index], dtype=np.int64)
    names = [o.name for o in session.get_outputs() if o.name != "seen"]
    found = session.run(names, inputs)
    return {name: value[0] for name, value in zip(names, found, strict=True)}


@pytest.fixture(scope="session")
def pose_package(tmp_path_factory: pytest.TempPathFactory) -> PosePackage:
    """One object, a vote head, no detector."""
    return write_pose_package(tmp_path_factory.mktemp("pose") / "pkg", *pose_parts())


@pytest.fixture(scope="session")
def detector_package(tmp_path_factory: pytest.TempPathFactory) -> PosePackage:
    """One object, a vote head, a detector."""
    parts = pose_parts(detector=detector_network())
    return write_pose_package(tmp_path_factory.mktemp("pose") / "pkg", *parts)


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame, and R and t of the object in it."""
    R, t = pose_of((0.5, -0.4, 0.2), (30.0, -20.0, 620.0))
    return draw_frame(R, t), R, t


@pytest.fixture
def package_at(tmp_path: Path):
    """Write a package from parts."""

    def write(*args: Any, **kwargs: Any) -> PosePackage:
        return write_pose_package(tmp_path / "pkg", *pose_parts(*args, **kwargs), overwrite=True)

    return write
