"""The networks of a package as a server sees them: names, types and sizes of all tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx

from edgesafe.export.trt.networks import read_networks
from edgesafe.runtime.package import Package, PosePackage

__all__ = ["Port", "ServedNetwork", "served_networks"]


@dataclass(frozen=True)
class Port:
    """An input or output: NumPy's name of its type, and sizes, open ones by name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ServedNetwork:
    """One network.

    Attributes:
        name: Unique in the package, e.g. ``image``.
        onnx: The verified file.
        precision: What it computes in.
        inputs: In their order.
        outputs: In their order.
        max_tokens: Largest length of a text; None of other networks.
    """

    name: str
    onnx: bytes = field(repr=False)
    precision: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_tokens: int | None


def served_networks(package: Package | PosePackage) -> list[ServedNetwork]:
    """Return the networks of a package, by name.

    Raises:
        ExportError: A graph has open sizes other than batch and text length.
    """
    found = []
    for network in read_networks(package):
        graph = onnx.load_from_string(network.onnx).graph
        found.append(
            ServedNetwork(
                network.name,
                network.onnx,
                network.precision,
                tuple(Port(n, t.dtype, t.shape) for n, t in network.inputs.items()),
                tuple(_port(value) for value in graph.output),
                network.limits.get("tokens"),
            )
        )
    return found


def _port(value: onnx.ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return Port(value.name, dtype, shape)
