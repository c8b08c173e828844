"""Packages of flat embeddings, and the text tower as a folder of transformers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from edgesafe.export import export_package, towers
from edgesafe.export.cli import export
from edgesafe.export.probes import TEXTS, draw_images
from edgesafe.export.text_encoder import write_text_encoder
from edgesafe.runtime.concepts import read_bank
from edgesafe.runtime.encoders import open_image, open_text
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.package import Package, read_package
from edgesafe.train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from edgesafe.train.encoders.base import build_encoder
from edgesafe.train.model import EuclideanDualEncoder

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    "quick_gelu": True,
}


@pytest.fixture(scope="module")
def safeclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny CLIP; its biases are not zero."""
    torch.manual_seed(0)
    architecture = {"name": "open_clip:tiny", "config": copy.deepcopy(TINY)}
    weights = {"licence": "CC-BY-NC-4.0", "origin": ["random numbers"], "notice": "A test."}
    encoder = build_encoder({**architecture, "weights": weights})
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    model = EuclideanDualEncoder(encoder).eval()
    concepts = [{"name": "knife", "tag": "weapon", "prompts": ["a knife", "a blade"]}]
    path = tmp_path_factory.mktemp("safeclip") / "checkpoint"
    save_checkpoint(path, model, CheckpointInfo.of(model, method="safeclip", concepts=concepts))
    return path


@pytest.fixture(scope="module")
def exported(safeclip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, Result]:
    """The package, made where a file holds less, and what the command printed."""
    out = tmp_path_factory.mktemp("packages") / "flat"
    with pytest.MonkeyPatch.context() as patch:
        # The image tower alone is too large for a file, as that of ViT-H/14 is.
        patch.setattr(towers, "FP32_LIMIT", 4 * 3 * 64 * 64)
        done = CliRunner().invoke(
            export, [str(safeclip), "--out", str(out), "--text-storage", "int8"]
        )
    assert done.exit_code == 0, done.output
    return read_package(out), done


def test_a_flat_package(safeclip: Path, exported: tuple[Package, Result]) -> None:
    package, done = exported
    model, _ = load_checkpoint(safeclip)
    assert "image tower is too large for one file as fp32" in done.stderr
    assert "CC-BY-NC-4.0: not for commercial use (random numbers)" in done.stderr
    assert "no probe: `edgesafe calibrate probe" in done.stdout
    manifest = package.manifest
    assert (manifest.method, manifest.training["method"]) == ("safeclip", "safeclip")
    assert manifest.raw["geometry"] == {"model": "euclidean", "dim": 16}
    assert "bounds" not in manifest.raw and manifest.probe is None
    assert manifest.image is not None and manifest.text is not None
    assert manifest.image.outputs == manifest.text.outputs == ("embedding",)
    assert (manifest.image.storage, manifest.text.storage) == ("fp16", "int8")
    assert set(manifest.raw["training"]["storage_effect"]["image"]) == {"cosine_min", "n"}
    golden = json.loads(package.files["golden.json"])
    assert set(golden["tolerances"]) == {"pixels", "embedding"}
    assert set(golden["text"][0]) == {"text", "input_ids", "embedding"}
    # As a device computes it: near the checkpoint but for the rounding of the weights.
    pairs = read_golden(package)
    image = open_image(package, pairs, backend="cpu", threads=1)
    text = open_text(package, pairs, backend="cpu", threads=1)
    picture = draw_images()[4]
    pixels = model.encoder.preprocess(picture)[None]
    with torch.no_grad():
        wanted = model.encode_image(torch.from_numpy(pixels)).numpy()
    found = image.encode(pixels).embedding
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(found - wanted) < 5e-3
    ids, mask = model.encoder.tokenize(["a red bus"])
    with torch.no_grad():
        wanted = model.encode_text(ids, mask).numpy()
    answer = text.encode(model.encoder.token_ids(["a red bus"])).embedding
    assert float(np.sum(answer * wanted)) > 0.999
    bank = read_bank(package)
    assert np.linalg.norm(bank.points, axis=1) == pytest.approx(1)
    assert bank.score(found[0].astype(np.float64))[0].name == "knife"


def test_a_tower_that_fits_in_no_way_is_refused(
    safeclip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(towers, "FP32_LIMIT", 1000)
    monkeypatch.setattr(towers, "_MAX_MODEL_BYTES", (64 << 20) + 1000)
    with pytest.raises(ExportError, match="as fp16; an ONNX file holds at most 2 GiB"):
        export_package(safeclip, tmp_path / "flat")


@torch.no_grad()
def test_the_text_tower_loads_in_transformers(safeclip: Path, tmp_path: Path) -> None:
    from transformers import CLIPTextModel

    folder = tmp_path / "text"
    done = CliRunner().invoke(export, [str(safeclip), "--text-encoder", str(folder)])
    assert done.exit_code == 0, done.output
    assert "loaded with transformers" in done.stderr and done.stdout == ""
    assert "CC-BY-NC-4.0" in (folder / "NOTICE.txt").read_text()
    loaded = CLIPTextModel.from_pretrained(folder).double().eval()
    model, _ = load_checkpoint(safeclip)
    tower: Any = model.encoder.text.double()
    ids, mask = model.encoder.tokenize(TEXTS)
    # A pipeline reads the states of all tokens behind the last norm.
    x = tower.token_embedding(ids) + tower.positional_embedding
    states = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask.double()))
    answer = loaded(input_ids=ids)
    assert torch.allclose(answer.last_hidden_state, states, atol=1e-9)
    pooled = answer.pooler_output @ tower.text_projection
    assert torch.allclose(pooled, tower(ids, mask), atol=1e-9)
    with pytest.raises(UsageError, match="exists already"):
        write_text_encoder(safeclip, folder)
    assert write_text_encoder(safeclip, folder, overwrite=True) < 1e-5


def test_a_folder_that_computes_something_else_is_not_written(
    safeclip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgesafe.export import text_encoder

    wrong = text_encoder._config
    monkeypatch.setattr(
        text_encoder, "_config", lambda encoder: {**wrong(encoder), "hidden_act": "gelu"}
    )
    with pytest.raises(ExportError, match="computes something else"):
        write_text_encoder(safeclip, tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_another_text_tower_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--text-encoder is for CLIP's"):
        write_text_encoder(checkpoint, tmp_path / "text")
