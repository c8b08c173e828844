"""`edgesafe import hysac`: the exact layout, both namings of peft, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError, SourceError, UsageError
from edgesafe.train.checkpoint import load_checkpoint
from edgesafe.train.importing.commands import hysac as command
from edgesafe.train.importing.hysac import import_hysac, read_bounds
from edgesafe.train.importing.source import Source, locate
from edgesafe.train.model import HyperbolicDualEncoder

Make = Callable[..., Any]
State = dict[str, Tensor]

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
TEXTS = ["a photo of a cat", "x", "a much longer text about three people at a bus stop"]


def source(folder: Path) -> Source:
    return locate(str(folder), ())


@pytest.fixture(scope="module")
def released(make_hysac: Make) -> Any:
    return make_hysac()


@pytest.fixture
def state(released: Any) -> State:
    return {name: tensor.float().clone() for name, tensor in released.state_dict().items()}


@pytest.mark.parametrize("naming", ["base_layer", "peft 0.4", "no default"])
def test_the_import_computes_what_the_release_computes(
    naming: str, make_hysac: Make, write_hysac: Make, peft_04: Make, tmp_path: Path
) -> None:
    released = make_hysac()
    state = released.state_dict()
    if naming == "peft 0.4":
        state = peft_04(state)
        # That version's layer adds its bias, so the reference must have it too.
        bias = state["visual.base_model.model.vision_model.embeddings.patch_embedding.bias"]
        layer = released.visual.base_model.model.vision_model.embeddings.patch_embedding
        layer.base_layer.bias = torch.nn.Parameter(bias.clone())
    if naming == "no default":
        state = {name.replace(".default", ""): tensor for name, tensor in state.items()}
    imported = import_hysac(source(write_hysac(tmp_path / "release", state)))
    model = imported.model.double()
    assert isinstance(model, HyperbolicDualEncoder)
    ids, mask = model.encoder.tokenize(TEXTS)
    with torch.no_grad():
        image, text = model.encode_image(PIXELS.double()), model.encode_text(ids, mask)
    # The end of a text is where the mask ends; transformers looks for its token.
    expected = released.encode(PIXELS, ids)
    for found, wanted in zip((image, text), expected, strict=True):
        error = np.linalg.norm(found.numpy() - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        assert error.max() < 1e-6
    assert any("peft 0.4" in note for note in imported.notes) == (naming == "peft 0.4")
    assert imported.info.data["adapters"] == {"merged": 21, "rank": 4}


def test_the_released_layout_has_957_keys(
    make_hysac: Make, write_hysac: Make, tmp_path: Path
) -> None:
    released = make_hysac(image_layers=24, text_layers=12, rank=16)
    state = released.state_dict()
    assert len(state) == 957
    assert sum("lora_A" in name for name in state) == 181
    imported = import_hysac(source(write_hysac(tmp_path, state)))
    assert imported.info.data["adapters"] == {"merged": 181, "rank": 16}
    image, text = (imported.model.encoder.blocks(t) for t in ("image", "text"))
    assert (len(image), len(text)) == (25, 13)


def test_the_checkpoint_says_what_it_is(state: State, write_hysac: Make, tmp_path: Path) -> None:
    folder = write_hysac(tmp_path / "release", state)
    done = CliRunner().invoke(command, [str(folder), "--out", str(tmp_path / "ck"), "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["licence"] == "CC-BY-NC-4.0" and "--base" in done.stderr
    model, info = load_checkpoint(tmp_path / "ck")
    assert info.method == "hysac" and info.geometry["curvature"] == pytest.approx(0.1, rel=1e-6)
    assert info.bounds["safe_text"] == {"avg": 0.44, "low_05": 0.43, "up_95": 0.46}
    assert info.bounds["unsafe_image"]["avg"] == 0.755
    assert info.weights["licence"] == "CC-BY-NC-4.0" and "commercial" in info.weights["notice"]
    assert info.weights["origin"][0].startswith("release, hysac_model.pth, sha256 ")
    assert str(tmp_path) not in json.dumps(info.to_json())
    assert model.encoder.architecture["config"]["quick_gelu"] is True
    assert model.encoder.preprocess.mode == "crop" and model.encoder.preprocess.height == 32
    assert model.encoder.preprocess.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    again = CliRunner().invoke(command, [str(folder), "--out", str(tmp_path / "ck")])
    assert isinstance(again.exception, UsageError)
    other = CliRunner().invoke(
        command, [str(folder), "--out", str(tmp_path / "ck"), "--overwrite", "--licence", "mine"]
    )
    assert other.exit_code == 0 and "licence mine" in other.output
    assert load_checkpoint(tmp_path / "ck")[1].weights["licence"] == "mine"


def test_the_frozen_parts_are_compared_with_the_base(
    released: Any, state: State, write_hysac: Make, tmp_path: Path
) -> None:
    release = source(write_hysac(tmp_path, state))
    base = {}
    for tower in ("visual", "textual"):
        prefix = f"{tower}.base_model.model."
        for name, tensor in state.items():
            if name.startswith(prefix) and "lora_" not in name:
                plain = name.removeprefix(prefix).replace(".base_layer.", ".")
                base[plain] = tensor.clone()
    assert not any("--base" in note for note in import_hysac(release, base=base).notes)
    for name in (
        "vision_model.encoder.layers.1.self_attn.q_proj.weight",
        "text_model.encoder.layers.0.mlp.fc1.weight",  # adapted, so that its base is compared
        "visual_projection.weight",
    ):
        moved = {**base, name: base[name] + 1e-6}
        with pytest.raises(CheckpointError, match=f"{name}.* differ from --base"):
            import_hysac(release, base=moved)


def drop(state: State, part: str) -> None:
    name = next(name for name in state if part in name)
    del state[name]


VISUAL = "visual.base_model.model.vision_model"
QUERY = f"{VISUAL}.encoder.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: drop(s, "layers.1.self_attn.q_proj.bias"), "lacks .*q_proj.bias"),
        (lambda s: drop(s, "lora_B"), "lacks lora_A or lora_B"),
        (lambda s: s.update({f"{VISUAL}.extra": torch.ones(2)}), "has the unknown .*extra"),
        (lambda s: s.update({"head.weight": torch.ones(2)}), "head.weight: it is not HySAC"),
        (lambda s: s.update(curv=torch.tensor(5.0)), "curv is 5.0000, which training keeps in"),
        (lambda s: s.update(visual_alpha=torch.tensor(0.5)), "visual_alpha is 0.5"),
        (lambda s: s.update(logit_scale=torch.tensor(1.0)), "logit_scale is 1.0"),
        (lambda s: s.update(logit_scale=torch.ones(2)), "must be one finite number"),
        (lambda s: s.pop("curv"), "lacks 'curv'"),
        (lambda s: s["textual_alpha"].fill_(math.nan), "not finite"),
        (
            lambda s: [s.pop(n) for n in list(s) if "layers.1.mlp.fc2.lora" in n],
            "lacks an adapter of .*layers.1.mlp.fc2",
        ),
        (
            lambda s: s.update(
                {
                    f"{QUERY}.lora_A.weight": torch.ones(4, 64),
                    f"{QUERY}.lora_B.weight": torch.ones(64, 4),
                }
            ),
            "has an adapter of .*q_proj",
        ),
        (
            lambda s: s.update(
                {f"{VISUAL}.encoder.layers.0.mlp.fc1.lora_A.default.weight": torch.ones(4, 32)}
            ),
            "has the shapes",
        ),
    ],
)
def test_what_is_no_release_is_refused(
    change: Callable[[State], Any], message: str, state: State, write_hysac: Make, tmp_path: Path
) -> None:
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_hysac(source(write_hysac(tmp_path, state)))


def test_notes(state: State, write_hysac: Make, tmp_path: Path) -> None:
    state["curv"].fill_(math.log(0.5))
    folder = write_hysac(tmp_path, state)
    (folder / "hysac_bounds.json").unlink()
    notes = import_hysac(source(folder)).notes
    assert any("curvature is 0.5" in note for note in notes)
    assert any("no hysac_bounds.json" in note for note in notes)


def test_bounds_that_are_none(state: State, write_hysac: Make, tmp_path: Path) -> None:
    folder = write_hysac(tmp_path, state)
    bounds = folder / "hysac_bounds.json"
    good = json.loads(bounds.read_text())
    reversed_ = {**good, "V": {"avg": 0.5, "low_05": 0.6, "up_95": 0.5}}
    for text, message in (
        ("[]", "hysac_bounds.json"),
        (json.dumps({k: v for k, v in good.items() if k != "G"}), "G"),
        (json.dumps({**good, "S": {"avg": 0.4}}), "low_05"),
        (json.dumps(reversed_), "low_05 is above up_95"),
    ):
        bounds.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            import_hysac(source(folder))
    swapped = {**good, "S": good["G"], "G": good["S"]}
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(swapped))
    imported = import_hysac(source(folder), bounds=elsewhere)
    assert imported.info.bounds["safe_text"]["avg"] == 0.755
    assert any("do not rise" in note for note in imported.notes)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="does not exist. Name a folder"):
        locate(str(tmp_path / "nothing"), ())
    with pytest.raises(CheckpointError, match="holds no hysac_model.pth"):
        import_hysac(source(tmp_path))
    asked = []

    def fetch(repository: str, patterns: list[str]) -> Path:
        asked.append((repository, patterns))
        if repository == "nobody/here":
            raise OSError("no network")
        return tmp_path

    monkeypatch.setattr("edgesafe.train.importing.source._fetch", fetch)
    assert locate("aimagelab/HySAC", ("a", "b")) == Source(tmp_path, "aimagelab/HySAC")
    assert asked == [("aimagelab/HySAC", ["a", "b"])]
    with pytest.raises(SourceError, match=r"cannot be fetched .*\(no network\)"):
        locate("nobody/here", ())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"avg": float("nan")}, "NaN is not a JSON number"),
        ({"avg": -1.0}, "S: avg must be a finite number"),
        ({"avg": "far"}, "S: avg must be a number"),
        ({"low_05": 0.9}, "S: low_05 is above up_95"),
    ],
)
def test_bounds_that_are_none_are_no_package(
    tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    shell = {"avg": 0.5, "low_05": 0.4, "up_95": 0.6}
    table = {**dict.fromkeys("SVUG", shell), "S": {**shell, **changed}}
    (tmp_path / "hysac_bounds.json").write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=told) as error:
        read_bounds(tmp_path / "hysac_bounds.json")
    mend = ": fetch the release's hysac_bounds.json again, or name another with --bounds"
    assert str(error.value).endswith(mend)
    assert "package" not in str(error.value)
