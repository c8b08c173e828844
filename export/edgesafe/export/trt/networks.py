"""The networks of a package, with what an engine of each needs to be built and to be checked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.fields import parse_json
from edgesafe.runtime.gate import decode_image
from edgesafe.runtime.manifest_parts import ImageEncoder, TextEncoder
from edgesafe.runtime.manifest_pose import DetectorSpec, PoseNetwork
from edgesafe.runtime.package import (
    Package,
    PosePackage,
    package_kind,
    read_package,
    read_pose_package,
)
from edgesafe.runtime.pose.golden import parse_pose_golden
from edgesafe.runtime.tokenizer import TextTokenizer

__all__ = ["DYNAMIC", "Network", "Tensor", "read_any_package", "read_networks"]

DYNAMIC = ("batch", "tokens")
"""The dimensions that may be open, by their place in a shape: everything else would be planned for
in vain. Graphs of other makers call them otherwise; a builder goes by the place too."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Tensor:
    """An input: its type as NumPy names it, and its shape, open dimensions by name."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Network:
    """One network of a package.

    Attributes:
        name: Unique in the package, e.g. ``image``.
        onnx: The verified file.
        precision: What the graph computes in.
        storage: Of its weights.
        inputs: Name to description.
        outputs: Their names.
        limits: Open dimension to its largest size, where it has one.
        golden: Inputs with a batch of one, those of the package's golden pairs.
    """

    name: str
    onnx: bytes = field(repr=False)
    precision: str
    storage: str
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    limits: Mapping[str, int]
    golden: Sequence[Arrays] = field(repr=False)


def read_any_package(path: Path) -> Package | PosePackage:
    """Read and verify a package of either kind.

    Raises:
        PackageError: It is not one, or damaged.
    """
    return read_pose_package(path) if package_kind(path) == "pose" else read_package(path)


def read_networks(package: Package | PosePackage) -> list[Network]:
    """Return the networks of a package, by name.

    Raises:
        ExportError: A graph has open dimensions that an engine must not have.
        PackageError: The golden pairs cannot be read.
    """
    found = _of_pose(package) if isinstance(package, PosePackage) else _of_moderation(package)
    return sorted(found, key=lambda network: network.name)


def _of_moderation(package: Package) -> list[Network]:
    manifest = package.manifest
    # The answers are not needed here: engines are compared with all the numbers of an output.
    golden = parse_json(package.files[manifest.golden], manifest.golden)
    found: list[Network] = []
    feeds: list[Arrays]
    if manifest.image is not None:
        pixels = [_picture(entry["png"]) for entry in golden.value.get("image", ())]
        feeds = [_image_feed(manifest.image, rgb) for rgb in pixels]
        found.append(_network("image", package, manifest.image, feeds))
    if manifest.text is not None:
        spec = manifest.text
        tokenizer = TextTokenizer(package.files[spec.tokenizer], spec, spec.tokenizer)
        rows = [entry["input_ids"] for entry in golden.value.get("text", ())]
        feeds = [dict(zip(spec.inputs, tokenizer.batch([row]), strict=True)) for row in rows]
        limits = {"tokens": spec.max_tokens}
        found.append(_network("text", package, spec, feeds, limits))
    return found


def _of_pose(package: PosePackage) -> list[Network]:
    manifest = package.manifest
    golden = parse_pose_golden(package.files[manifest.golden], manifest.golden)
    found = []
    for spec in manifest.networks:
        feeds = []
        for pair in golden.roi:
            if pair.object_id not in spec.objects:
                continue
            feed: Arrays = {"image": spec.preprocess.normalize(_decoded(pair.png)[None])}
            if len(spec.objects) > 1:
                feed["object"] = np.array([spec.objects.index(pair.object_id)], np.int64)
            feeds.append(feed)
        found.append(_network(Path(spec.file).stem, package, spec, feeds))
    if manifest.detector is not None:
        normalize = manifest.detector.preprocess.normalize
        feeds = [{"image": normalize(_decoded(pair.png)[None])} for pair in golden.detector]
        found.append(_network(Path(manifest.detector.file).stem, package, manifest.detector, feeds))
    return found


def _network(
    name: str,
    package: Package | PosePackage,
    spec: ImageEncoder | TextEncoder | PoseNetwork | DetectorSpec,
    golden: Sequence[Arrays],
    limits: Mapping[str, int] | None = None,
) -> Network:
    data = package.files[spec.file]
    graph = onnx.load_from_string(data).graph
    constants = {tensor.name for tensor in graph.initializer}
    axes = DYNAMIC if isinstance(spec, TextEncoder) else DYNAMIC[:1]
    inputs = {
        value.name: _tensor(value, name, axes)
        for value in graph.input
        if value.name not in constants
    }
    open_ = {d for value in inputs.values() for d in value.shape if isinstance(d, str)}
    return Network(
        name=name,
        onnx=data,
        precision=spec.precision,
        storage=spec.storage,
        inputs=inputs,
        outputs=tuple(value.name for value in graph.output),
        limits={key: size for key, size in (limits or {}).items() if key in open_},
        golden=golden,
    )


def _tensor(value: onnx.ValueInfoProto, network: str, axes: Sequence[str]) -> Tensor:
    """Describe an input; its open dimensions get their names by their place."""
    kind = value.type.tensor_type
    shape: list[int | str] = []
    for index, dim in enumerate(kind.shape.dim):
        if dim.dim_value > 0:
            shape.append(dim.dim_value)
        elif index < len(axes):
            shape.append(axes[index])
        else:
            raise ExportError(
                f"the input {value.name!r} of {network} leaves its dimension {index} "
                f"({dim.dim_param or 'without a name'}) open: only the batch and the length of a "
                "text may be; export the package again with fixed sizes"
            )
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return Tensor(dtype.name, tuple(shape))


def _image_feed(spec: ImageEncoder, rgb: NDArray[np.uint8]) -> Arrays:
    """A picture as the encoder wants it, as the runtime arranges it."""
    pixels = spec.preprocess(rgb)[None]
    if spec.channels == "bgr":
        pixels = pixels[:, ::-1]
    if spec.layout == "nhwc":
        pixels = pixels.transpose(0, 2, 3, 1)
    return {spec.input: np.ascontiguousarray(pixels)}


def _picture(text: str) -> NDArray[np.uint8]:
    return _decoded(base64.b64decode(text))


def _decoded(png: bytes) -> NDArray[np.uint8]:
    return decode_image(png).views[0]
