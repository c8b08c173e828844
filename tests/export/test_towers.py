"""Encoders of open_clip as ONNX: a vision transformer and CLIP's text tower."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgesafe.export.exporter import ExportOptions, _image_plan, _text_plan
from edgesafe.export.probes import TEXTS, draw_images
from edgesafe.export.towers import TowerPlan, export_encoder, image_probes, text_probes
from edgesafe.runtime.errors import ExportError
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import HyperbolicDualEncoder, Lift

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip() -> HyperbolicDualEncoder:
    pytest.importorskip("open_clip")
    encoder = build_encoder({"name": "open_clip:tiny", "config": CONFIG}, pretrained=False)
    lift = Lift(32, curvature=0.1, visual_scale=0.5, textual_scale=0.5)
    return HyperbolicDualEncoder(encoder, lift).eval().requires_grad_(False)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_open_clip(clip: HyperbolicDualEncoder, modality: str) -> None:
    options = ExportOptions(image_storage="int8", text_storage="int8")
    if modality == "image":
        plan = _image_plan(clip, options, "tiny", 1)
        probes = image_probes(np.stack([clip.encoder.preprocess(p) for p in draw_images()]))
        axes = [["batch", 3, 32, 32]]
    else:
        plan = _text_plan(clip, options, "tiny", 1)
        probes = text_probes(clip, TEXTS)
        axes = [["batch", 77], ["batch", 77]]
    assert {len(next(iter(batch.values()))) for batch in probes} >= {1, 4}
    done = export_encoder(clip, plan, probes)
    assert done.parity.n == 8 and 0 < done.parity.max_relative_error < 1e-5
    assert done.effect is not None and done.effect.cosine_min > 0.999
    graph = onnx.load_from_string(done.onnx).graph
    shapes = [i.type.tensor_type.shape.dim for i in graph.input]
    assert [[d.dim_param or d.dim_value for d in dims] for dims in shapes] == axes
    assert any(n.op_type == "LayerNormalization" for n in graph.node)
    large = [t for t in graph.initializer if t.data_type == 1 and len(t.dims) > 1]
    large = [t.name for t in large if np.prod(t.dims) >= 4096]
    # CLIP's causal mask of minus infinities is the only matrix that int8 cannot hold.
    assert len(large) == (1 if modality == "text" else 0)


def test_a_tower_beyond_two_gibibytes(
    clip: HyperbolicDualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesafe.export.towers._MAX_MODEL_BYTES", 64 << 20)
    plan: TowerPlan = _image_plan(clip, ExportOptions(), "tiny", 1)
    with pytest.raises(ExportError, match="2 GiB"):
        export_encoder(clip, plan, [])
