"""A tiny package whose image network has a piece of the hyperbolic head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from edgesafe.export.functions import DOMAIN, attach_functions
from edgesafe.export.trt.bundle import PreparedNetwork, prepare
from edgesafe.export.trt.networks import read_any_package
from edgesafe.export.trt.settings import TrtOptions
from edgesafe.runtime.package import write_package


def with_head(data: bytes) -> bytes:
    """The same network, its radius by the operator of the domain."""
    model = onnx.load_from_string(data)
    graph = model.graph
    kept = [node for node in graph.node if node.op_type not in ("ReduceL2", "Asinh", "Mul")]
    scale = [node for node in graph.node if node.output[0] == "scaled"]
    del graph.node[:]
    graph.node.extend(kept[:1] + scale + kept[1:])
    graph.initializer.append(
        onnx.numpy_helper.from_array(onnx.numpy_helper.np.float32(1.0).reshape(()), "curvature")
    )
    graph.node.append(
        helper.make_node(
            "RootDistance", ["embedding", "curvature"], ["root_distance"], "head", domain=DOMAIN
        )
    )
    used = {name for node in graph.node for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)
    attach_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def head_package(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_parts: Any,
    tiny_image_model: Callable[..., bytes],
) -> Path:
    """A moderation package; copy it before changing anything."""
    fields, files = tiny_parts()
    files["image.onnx"] = with_head(tiny_image_model())
    path = tmp_path_factory.mktemp("trt") / "tiny"
    write_package(path, fields, files)
    return path


@pytest.fixture(scope="session")
def prepared(head_package: Path) -> dict[str, PreparedNetwork]:
    """Its networks, ready for TensorRT."""
    found = prepare(read_any_package(head_package), TrtOptions())
    return {item.network.name: item for item in found}
