"""Towers as graphs: dynamic axes, standard operators, the head, the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from edgesafe.export.functions import DOMAIN
from edgesafe.export.graph import add_head, check_model, export_tower, stamp
from edgesafe.export.storage import round_weights, store_weights
from edgesafe.runtime.errors import ExportError
from edgesafe.train import lorentz
from edgesafe.train.model import HyperbolicDualEncoder

TEXT_AXES = {n: {0: "batch", 1: "tokens"} for n in ("input_ids", "attention_mask")}
AXES = {"image": {"pixels": {0: "batch"}}, "text": TEXT_AXES}


def example(modality: str, batch: int = 2, tokens: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(batch * 100 + tokens)
    if modality == "image":
        return {"pixels": torch.randn(batch, 3, 32, 40, generator=generator)}
    ids = torch.randint(4, 60, (batch, tokens), generator=generator)
    mask = torch.ones_like(ids)
    if tokens > 2:
        mask[-1, tokens - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def run(model: onnx.ModelProto, feeds: dict[str, Tensor], **kwargs: Any) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    for key, value in kwargs.items():
        setattr(options, key, value)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {k: v.numpy() for k, v in feeds.items()}))


@pytest.mark.parametrize(("modality", "opset"), [("image", 18), ("image", 22), ("text", 18)])
def test_tower_with_head(
    model: HyperbolicDualEncoder, modality: str, opset: int, tmp_path: Path
) -> None:
    tower = getattr(model.encoder, modality)
    round_weights(tower, "int8")
    graph = export_tower(
        tower, example(modality), AXES[modality], limits={"tokens": 128}, opset=opset
    )
    stored = store_weights(graph, "int8")
    assert stored.int8 > 0
    alpha = model.lift.visual_alpha if modality == "image" else model.lift.textual_alpha
    add_head(graph, scale=float(alpha.exp()), curvature=float(model.curvature))
    stamp(graph, name="tiny", release=3, properties={"edgesafe.kind": "moderation"})
    finished = check_model(graph)

    assert [o.version for o in finished.opset_import if o.domain == ""] == [opset]
    assert {f.name for f in finished.functions} == {"ExpMap0", "RootDistance"}
    kinds = {n.op_type for n in finished.graph.node}
    assert not kinds & {"If", "Loop", "Scan", "NonZero", "Attention", "MatMulInteger"}
    assert "DynamicQuantizeLinear" not in kinds and "QuantizeLinear" not in kinds
    assert ("LayerNormalization" in kinds) == (modality == "text")
    # No float weight of any size is left, in the layout of torch or in another.
    left = [t for t in finished.graph.initializer if t.data_type == 1 and len(t.dims) > 1]
    assert all(np.prod(t.dims) < 256 for t in left)

    reference = model.double().eval()
    encode = reference.encode_image if modality == "image" else reference.encode_text
    for batch, tokens in ((1, 1), (1, 7), (2, 128), (5, 30)):
        feeds = example(modality, batch, tokens)
        embedding, radius = run(finished, feeds)
        with torch.no_grad():
            points = encode(*(t.double() if t.is_floating_point() else t for t in feeds.values()))
            truth = lorentz.root_distance(points, reference.curvature)
        assert embedding.dtype == radius.dtype == np.float32
        np.testing.assert_allclose(embedding, points, atol=1e-5 * float(points.abs().max()))
        np.testing.assert_allclose(radius, truth, rtol=1e-5)

    optimized = tmp_path / "optimized.onnx"
    run(finished, example(modality), optimized_model_filepath=str(optimized))
    folded = onnx.load(optimized).graph.node
    assert not {n.op_type for n in folded} & {"DequantizeLinear", "BatchNormalization"}
    assert DOMAIN not in {n.domain for n in folded}


def test_nothing_of_the_machine_is_in_the_file(model: HyperbolicDualEncoder) -> None:
    graph = export_tower(model.encoder.image, example("image"), AXES["image"])
    add_head(graph, scale=1.0, curvature=1.0)
    stamp(graph, name="tiny", release=3, properties={"edgesafe.curvature": "1.0"})
    data = check_model(graph).SerializeToString()
    for trace in (b"site-packages", b".py", str(Path.cwd()).encode(), b"stack_trace"):
        assert trace not in data
    again = onnx.load_from_string(data)
    assert (again.producer_name, again.model_version, again.ir_version) == ("edgesafe", 3, 8)
    assert {p.key: p.value for p in again.metadata_props} == {"edgesafe.curvature": "1.0"}
    assert [d.dim_param for d in again.graph.input[0].type.tensor_type.shape.dim][0] == "batch"
    assert [o.name for o in again.graph.output] == ["embedding", "root_distance"]


class Branching(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.sum() > 0:
            return pixels.mean(dim=(2, 3))
        return pixels.amax(dim=(2, 3))


class OneRow(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3)).reshape(2, 3)


@pytest.mark.parametrize("tower", [Branching(), OneRow()])
def test_towers_that_cannot_be_exported(tower: nn.Module) -> None:
    with pytest.raises(ExportError, match="batch|values of its inputs"):
        export_tower(tower, example("image"), AXES["image"])


def test_check_refuses_other_domains_and_broken_graphs(model: HyperbolicDualEncoder) -> None:
    graph = export_tower(model.encoder.image, example("image"), AXES["image"])
    add_head(graph, scale=1.0, curvature=1.0)
    strange = onnx.ModelProto()
    strange.CopyFrom(graph)
    strange.graph.node.append(helper.make_node("FusedGemm", ["x"], ["y"], domain="com.microsoft"))
    with pytest.raises(ExportError, match="FusedGemm"):
        check_model(strange)
    graph.graph.node.append(helper.make_node("Relu", ["nowhere"], ["y"]))
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_model(graph)
