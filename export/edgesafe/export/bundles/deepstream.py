"""Configurations of Gst-nvinfer (DeepStream) for the networks that look at whole frames.

Those are the image encoder of a moderation package and the detector of a pose package. The networks
on crops are left out: nvinfer cuts and squeezes boxes otherwise than they were trained on.

nvinfer computes ``y = net-scale-factor (x - offset)`` with one factor for all channels, which
cannot express a deviation per channel. So the normalisation goes into the graph, and nvinfer hands
over values in 0..1. What it cannot do is said in the file itself: its scaler is no antialiased
bicubic, its border is black, and it makes no verdicts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgesafe.export.bundles.ownership import check_folder, mark_folder
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.files import atomic_folder, atomic_write
from edgesafe.runtime.manifest_parts import ImageEncoder
from edgesafe.runtime.manifest_pose import DetectorSpec
from edgesafe.runtime.package import Package, PosePackage
from edgesafe.runtime.preprocess import Preprocess

__all__ = [
    "FLOAT32_ONLY",
    "check_frames",
    "nvinfer_config",
    "normalising_model",
    "write_deepstream",
]

FLOAT32_ONLY = (
    "--deepstream takes float32 only, because nvinfer's builder chooses types by itself: give the "
    "package in fp32 that it is made of, or serve this one with --triton"
)
"""Why, and what to do."""


@dataclass(frozen=True)
class _Watched:
    """A network on whole frames."""

    name: str
    spec: ImageEncoder | DetectorSpec
    onnx: bytes = field(repr=False)

    @property
    def bgr(self) -> bool:
        return getattr(self.spec, "channels", "rgb") == "bgr"


def normalising_model(model: bytes, preprocess: Preprocess, *, bgr: bool = False) -> bytes:
    """Return a model that takes RGB or BGR in 0..1 instead of normalised values.

    Args:
        model: Takes ``(x - mean) / std``, (batch, 3, H, W).
        preprocess: Whose ``mean`` and ``std``, of red, green and blue.
        bgr: The model wants blue first.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    image = next(value for value in graph.input if len(value.type.tensor_type.shape.dim) == 4)
    order = slice(None, None, -1) if bgr else slice(None)
    std = np.array(preprocess.std[order], np.float64).reshape(1, 3, 1, 1)
    mean = np.array(preprocess.mean[order], np.float64).reshape(1, 3, 1, 1)
    inner = f"{image.name}/normalised"
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == image.name:
                node.input[index] = inner
    scaled = f"{image.name}/scaled"
    names = [f"{image.name}/factor", f"{image.name}/shift"]
    for name, value in zip(names, (1 / std, -mean / std), strict=True):
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    nodes = [
        helper.make_node("Mul", [image.name, names[0]], [scaled], name="normalise_factor"),
        helper.make_node("Add", [scaled, names[1]], [inner], name="normalise_shift"),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    return bytes(proto.SerializeToString())


def nvinfer_config(name: str, spec: ImageEncoder | DetectorSpec, file: str, unique_id: int) -> str:
    """Return the text of a configuration file of Gst-nvinfer."""
    return "\n".join(_lines(name, spec, file, unique_id)) + "\n"


def check_frames(package: Package | PosePackage) -> None:
    """Refuse a package that nvinfer cannot run, before anything is made of it.

    Raises:
        ExportError: The package has no network on whole frames, or it wants channels last.
        UsageError: The network is not in float32.
    """
    found = list(_watched(package))
    if not found:
        raise ExportError(
            f"{package.path} has no network that looks at whole frames: there is nothing for "
            "DeepStream's nvinfer"
        )
    for item in found:
        if item.spec.precision != "fp32":
            raise UsageError(
                f"{package.path}: {item.spec.file} is {item.spec.precision}; {FLOAT32_ONLY}"
            )


def write_deepstream(
    package: Package | PosePackage, target: Path, *, overwrite: bool = False
) -> list[str]:
    """Write configurations and their models into a folder, whole or not at all.

    Returns:
        The names of the configuration files.

    Raises:
        ExportError: The package has no network on whole frames, or it wants channels last.
        UsageError: The folder exists and must not be replaced, or the network is not in float32.
        OSError: It could not be written.
    """
    check_folder(target, "deepstream", overwrite=overwrite)
    check_frames(package)
    # "." has no name that another folder could take.
    target = Path(os.path.abspath(target))
    found = _watched(package)
    names = []
    with atomic_folder(target, overwrite=overwrite) as folder:
        for index, item in enumerate(found, start=1):
            file = f"{item.name}_nvinfer.onnx"
            model = normalising_model(item.onnx, item.spec.preprocess, bgr=item.bgr)
            atomic_write(folder / file, model)
            names.append(f"nvinfer_{item.name}.txt")
            text = nvinfer_config(item.name, item.spec, file, index)
            atomic_write(folder / names[-1], text.encode())
        mark_folder(folder, "deepstream", package.manifest.identity)
    return names


def _watched(package: Package | PosePackage) -> Iterator[_Watched]:
    if isinstance(package, PosePackage):
        detector = package.manifest.detector
        if detector is not None:
            yield _Watched("detector", detector, package.files[detector.file])
        return
    image = package.manifest.image
    if image is None:
        return
    if image.layout != "nchw":
        raise ExportError(f"{package.path}: {image.file} wants channels last, nvinfer gives first")
    yield _Watched("image", image, package.files[image.file])


def _lines(
    name: str, spec: ImageEncoder | DetectorSpec, file: str, unique_id: int
) -> Iterator[str]:
    preprocess = spec.preprocess
    detector = isinstance(spec, DetectorSpec)
    outputs = ("heat", "box") if isinstance(spec, DetectorSpec) else spec.outputs
    yield f"# Gst-nvinfer of the network {name!r}, in float32."
    yield "#"
    yield "# It attaches the raw outputs to the frame as tensor meta data (NvDsInferTensorMeta)."
    if detector:
        yield "# It draws no boxes: take the peaks of `heat` and the sizes in `box` as"
        yield "# edgesafe.runtime.pose.detector.find_boxes does. Its border is black, not grey."
    else:
        yield "# It gives no verdicts: compare the outputs with the thresholds of the package."
        way = f"{preprocess.mode}, {preprocess.interpolation}, antialiased"
        yield f"# The package resizes photos ({way});"
        yield "# nvinfer stretches with its own scaler. Calibrate the thresholds anew on frames"
        yield "# that came this way: edgesafe calibrate threshold."
    yield "# Start the pipeline with NVIDIA_TF32_OVERRIDE=0 in its environment. nvinfer builds the"
    yield "# engine itself, and TensorRT allows TF32 unless told otherwise: products are rounded to"
    yield "# ten bits, and distances between near points lose their meaning. What counts is the"
    yield "# variable at the build: delete an engine that was built without it."
    yield "[property]"
    yield f"gie-unique-id={unique_id}"
    yield "gpu-id=0"
    yield "# On whole frames."
    yield "process-mode=1"
    yield f"onnx-file={file}"
    yield f"model-engine-file={file}_b1_gpu0_fp32.engine"
    yield "batch-size=1"
    yield f"infer-dims=3;{preprocess.height};{preprocess.width}"
    yield "# 0 is RGB, 1 is BGR."
    yield f"model-color-format={1 if getattr(spec, 'channels', 'rgb') == 'bgr' else 0}"
    yield "# To 0..1; mean and deviation of each channel are in the graph."
    yield "net-scale-factor=0.00392156862745098"
    yield f"maintain-aspect-ratio={int(detector)}"
    yield f"symmetric-padding={int(detector)}"
    yield "# 0 is fp32: with 1 or 2 TensorRT could take the hyperbolic head to less."
    yield "network-mode=0"
    yield "# 100: neither detector nor classifier of nvinfer's own kind; outputs as tensors."
    yield "network-type=100"
    yield "output-tensor-meta=1"
    yield f"output-blob-names={';'.join(outputs)}"
    yield "interval=0"
