"""`edgesafe import safeclip` and `openclip`: transformers' folders and open_clip's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from edgesafe.runtime.errors import CheckpointError, UsageError
from edgesafe.train.checkpoint import load_checkpoint
from edgesafe.train.importing.commands import openclip as openclip_command
from edgesafe.train.importing.commands import safeclip as safeclip_command
from edgesafe.train.importing.openclip import import_openclip
from edgesafe.train.importing.released import Imported
from edgesafe.train.importing.safeclip import import_safeclip
from edgesafe.train.importing.source import locate
from edgesafe.train.model import EuclideanDualEncoder

Make = Callable[..., Any]

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)).double()
TEXTS = ["a photo of a cat", "x", "a much longer text about three people at a bus stop"]
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8},
    "text_cfg": {"width": 64, "heads": 1, "layers": 2},
}


def imported(path: Path) -> Imported:
    return import_safeclip(locate(str(path), ()))


@torch.no_grad()
def embeddings(done: Imported) -> tuple[Tensor, Tensor, Tensor]:
    model = done.model.double()
    ids, mask = model.encoder.tokenize(TEXTS)
    return ids, model.encode_image(PIXELS), model.encode_text(ids, mask)


def unit(x: Any) -> Tensor:
    features = x if isinstance(x, Tensor) else x.pooler_output
    return functional.normalize(features, dim=-1)


@pytest.fixture
def released_open_clip() -> Any:
    """open_clip's own module, QuickGELU in both towers."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY, quick_gelu=True).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


@pytest.mark.parametrize(
    ("act", "form", "sizes"),
    [
        ("quick_gelu", "safetensors", {}),
        ("quick_gelu", "bin", {"image_size": 48}),
        # H/14 and SD 2.0: another activation, heads of width 32, towers of other depths.
        ("gelu", "shards", {"num_hidden_layers": 3}),
    ],
)
def test_a_folder_of_transformers(
    act: str, form: str, sizes: dict[str, int], make_clip: Make, tmp_path: Path
) -> None:
    model = make_clip(act, **{k: v for k, v in sizes.items() if k != "image_size"})
    model.save_pretrained(tmp_path, max_shard_size="10MB" if form == "shards" else "5GB")
    if form == "bin":
        state = {**model.state_dict(), "text_model.embeddings.position_ids": torch.arange(77)[None]}
        (tmp_path / "model.safetensors").unlink()
        torch.save(state, tmp_path / "pytorch_model.bin")
    assert (tmp_path / "model.safetensors.index.json").exists() == (form == "shards")
    done = imported(tmp_path)
    ids, image, text = embeddings(done)
    with torch.no_grad():
        model = model.double()
        wanted = model.get_image_features(pixel_values=PIXELS), model.get_text_features(ids)
    assert torch.allclose(image, unit(wanted[0]), atol=1e-9)
    assert torch.allclose(text, unit(wanted[1]), atol=1e-9)
    info = done.info
    assert (info.method, info.bounds) == ("safeclip", {})
    assert (
        info.weights["licence"] == "CC-BY-NC-4.0" and "arXiv 2311.16254" in info.weights["notice"]
    )
    assert isinstance(done.model, EuclideanDualEncoder)
    assert done.model.logit_scale.item() == pytest.approx(2.6592, abs=1e-4)


def test_the_open_clip_file_needs_quick_gelu(released_open_clip: Any, tmp_path: Path) -> None:
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(released_open_clip.state_dict(), file)
    ids, image, text = embeddings(imported(file))
    _, in_folder, _ = embeddings(imported(tmp_path))
    assert torch.equal(image, in_folder)
    released_open_clip.double()
    with torch.no_grad():
        wanted = released_open_clip.encode_image(PIXELS), released_open_clip.encode_text(ids)
    assert torch.allclose(image, unit(wanted[0]), atol=1e-9)
    assert torch.allclose(text, unit(wanted[1]), atol=1e-9)


def test_the_command(make_clip: Make, tmp_path: Path) -> None:
    make_clip().save_pretrained(tmp_path / "safeclip")
    (tmp_path / "safeclip" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2], "size": 32})
    )
    out = tmp_path / "ck"
    arguments = [str(tmp_path / "safeclip"), "--out", str(out)]
    done = CliRunner().invoke(safeclip_command, arguments)
    assert done.exit_code == 0, done.output
    assert "CC-BY-NC-4.0" in done.output
    model, info = load_checkpoint(out)
    assert info.geometry == {"model": "euclidean", "dim": 32}
    assert model.encoder.preprocess.mean == (0.5, 0.4, 0.3)
    assert info.weights["origin"][0].startswith("safeclip, model.safetensors, sha256 ")


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    table = json.loads(file.read_text())
    for key, value in changes.items():
        part, _, inner = key.partition("__")
        if inner:
            table[part][inner] = value
        else:
            table[part] = value
    file.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "siglip"}, "model_type is 'siglip'"),
        ({"model_type": "clip_text_model"}, "A text encoder alone moderates nothing"),
        ({"text_config__hidden_act": "gelu"}, "hidden_act is gelu and quick_gelu"),
        (
            {"text_config__hidden_act": "relu", "vision_config__hidden_act": "relu"},
            "hidden_act is relu",
        ),
        ({"vision_config__layer_norm_eps": 1e-6}, "layer_norm_eps of the image tower is 1e-06"),
    ],
)
def test_folders_that_are_none(
    changes: dict[str, Any], message: str, make_clip: Make, tmp_path: Path
) -> None:
    make_clip().save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path)


def test_a_bare_file_of_transformers_does_not_say_enough(make_clip: Make, tmp_path: Path) -> None:
    make_clip().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="name the folder that holds both"):
        imported(tmp_path / "model.safetensors")
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="holds neither config.json"):
        imported(tmp_path)


def test_openclip(released_open_clip: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    save_file(released_open_clip.state_dict(), folder / "open_clip_model.safetensors")
    with pytest.raises(UsageError, match="nothing says which architecture"):
        import_openclip(locate(str(folder), ()))
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}
    description = {"model_cfg": {**TINY, "quick_gelu": True}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(description))
    arguments = [str(folder), "--out", str(tmp_path / "ck"), "--licence", "MIT"]
    done = CliRunner().invoke(openclip_command, arguments)
    assert done.exit_code == 0, done.output
    model, info = load_checkpoint(tmp_path / "ck")
    assert (info.method, info.weights["licence"]) == ("clip", "MIT")
    assert model.encoder.preprocess.mode == "stretch"
    model.double()
    with torch.no_grad():
        found = model.encode_image(PIXELS)
        wanted = unit(released_open_clip.double().encode_image(PIXELS))
    assert torch.allclose(found, wanted, atol=1e-6)
    # The same weights without QuickGELU are another model.
    plain = import_openclip(locate(str(folder), ()), quick_gelu=False)
    _, image, _ = embeddings(plain)
    assert not torch.allclose(image, wanted, atol=1e-3)
    with pytest.raises(CheckpointError, match="lacks|unknown"):
        import_openclip(locate(str(folder), ()), architecture="ViT-S-32-alt")
