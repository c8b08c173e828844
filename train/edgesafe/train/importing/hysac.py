"""The released HySAC: ``hysac_model.pth`` with unmerged adapters, and ``hysac_bounds.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgesafe.runtime.errors import CheckpointError, PackageError
from edgesafe.runtime.fields import parse_json
from edgesafe.train.checkpoint import CheckpointInfo
from edgesafe.train.importing.adapters import Merged, merge_adapters
from edgesafe.train.importing.released import (
    NON_COMMERCIAL,
    Imported,
    Origin,
    built,
    describe,
    fill,
    first,
    hyperbolic,
    notes_of,
)
from edgesafe.train.importing.shape import apply_table
from edgesafe.train.importing.source import Source
from edgesafe.train.importing.transformers_names import (
    POSITIONS,
    fold_patch_bias,
    shape_of_transformers,
    transformers_table,
)
from edgesafe.train.importing.weights import read_weights

__all__ = ["FILES", "import_hysac", "read_bounds"]

MODEL, BOUNDS = "hysac_model.pth", "hysac_bounds.json"
FILES = (MODEL, BOUNDS)

CLASSES = {"S": "safe_text", "V": "safe_image", "U": "unsafe_text", "G": "unsafe_image"}
_TARGETS = ("k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding")
_PREFIXES = ("visual.", "textual.")
_UNUSED = ("pixel_mean", "pixel_std")
"""ImageNet's statistics, which the released code registers and never uses."""
_BUFFERS = ("position_ids",)
_SCALARS = ("logit_scale", "curv", "visual_alpha", "textual_alpha")
_NOTICE = (
    "HySAC by Poppi et al., CVPR 2025 (arXiv 2503.12127), fine-tuned from OpenAI's CLIP. Not for "
    "commercial use."
)


def import_hysac(
    source: Source, *, bounds: Path | None = None, base: Mapping[str, Tensor] | None = None
) -> Imported:
    """Reads the release.

    Args:
        source: Its folder, or the file of the weights.
        bounds: The file of the bounds, where it lies elsewhere.
        base: Weights of openai/clip-vit-large-patch14 by transformers' names; what HySAC leaves
            frozen must equal them bit for bit.

    Raises:
        CheckpointError: A file is missing, broken, or not what the release consists of.
    """
    path = source.path if source.path.is_file() else source.find(MODEL)
    if path is None:
        raise CheckpointError(f"{source.path} holds no {MODEL}: name the folder that does.")
    weights = read_weights(path)
    where = str(path)
    towers, scalars = _parts(weights.tensors, where)
    merged = {prefix: merge_adapters(towers[prefix], where) for prefix in _PREFIXES}
    state = {name: t for m in merged.values() for name, t in m.tensors.items()}
    before = {name: t for m in merged.values() for name, t in m.base.items()}
    adapted = list(before)
    positions = state.get(POSITIONS)
    biased = fold_patch_bias(state)
    shape = shape_of_transformers(state, where)
    table = transformers_table(image_layers=shape.image_layers, text_layers=shape.text_layers)
    renamed = apply_table(state, table, where)
    _check_adapted(adapted, set(state), where)
    if base is not None:
        assert positions is not None  # it has a shape
        _check_base({**state, POSITIONS: positions, **before}, base, where)
    lines = [describe(path, weights.digest, source.name)]
    origin = Origin(NON_COMMERCIAL, (*lines, "OpenAI CLIP ViT-L/14 (MIT)"), _NOTICE)
    encoder = built(f"{shape.name}-quickgelu", shape.config(quick_gelu=True), origin)
    fill(encoder, renamed, where)
    model = hyperbolic(encoder, scalars, where)
    found = bounds or (path.with_name(BOUNDS) if path.with_name(BOUNDS).is_file() else None)
    read = read_bounds(found) if found else {}
    info = CheckpointInfo.of(
        model,
        method="hysac",
        bounds=read,
        data={"imported": lines, "adapters": {"merged": len(adapted), "rank": _rank(merged)}},
    )
    notes = notes_of(
        None if adapted else "there are no adapters: the weights are taken as merged already",
        "the bias of the patch convolution (peft 0.4) went into the positions" if biased else None,
        _curvature_note(model.curvature.item()),
        None if read else f"no {BOUNDS}: the package will not know the radii of the four classes",
        _shell_note(read),
        None
        if base is not None
        else "not compared with openai/clip-vit-large-patch14; name its folder with --base",
    )
    return Imported(model, info, notes)


def read_bounds(path: Path) -> dict[str, dict[str, float]]:
    """Reads ``hysac_bounds.json``: radii of the four classes, by our names of these.

    Raises:
        CheckpointError: It is not as the released code reads it.
    """
    try:
        mend = f"fetch the release's {BOUNDS} again, or name another with --bounds"
        top = parse_json(path.read_bytes(), str(path), mend)
        found = {}
        for theirs, ours in CLASSES.items():
            entry = top.fields(theirs)
            found[ours] = {k: entry.number(k, 0.0, 1e3) for k in ("avg", "low_05", "up_95")}
            if found[ours]["low_05"] > found[ours]["up_95"]:
                raise entry.fail("low_05", "is above up_95")
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}). Name it with --bounds."
        ) from error
    except PackageError as error:
        raise CheckpointError(str(error)) from error
    return found


def _parts(
    tensors: Mapping[str, Tensor], where: str
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    towers: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in _PREFIXES}
    scalars: dict[str, Tensor] = {}
    strange = []
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        prefix = next((p for p in _PREFIXES if name.startswith(p)), None)
        if prefix:
            if name.rpartition(".")[2] not in _BUFFERS:
                towers[prefix][name.removeprefix(prefix)] = tensor
        elif name in _SCALARS:
            scalars[name] = tensor
        elif name not in _UNUSED:
            strange.append(name)
    if strange or not all(towers.values()):
        lacking = "has the unknown " + first(strange) if strange else "has no visual.* or textual.*"
        raise CheckpointError(f"{where} {lacking}: it is not HySAC's state dict.")
    return towers, scalars


def _check_adapted(adapted: list[str], names: set[str], where: str) -> None:
    if not adapted:
        return
    # The trunk of both towers: neither the queries nor the projections are adapted.
    wanted = {
        name
        for name in names
        if name.endswith(".weight") and name.split(".")[-2] in _TARGETS and "_model." in name
    }
    wrong = sorted(wanted ^ set(adapted))
    if wrong:
        state = "lacks" if wrong[0] in wanted else "has"
        raise CheckpointError(
            f"{where} {state} an adapter of {wrong[0]!r} ({len(wrong)} differ): HySAC adapts "
            f"{', '.join(_TARGETS)} of every layer and nothing else."
        )


def _check_base(frozen: Mapping[str, Tensor], base: Mapping[str, Tensor], where: str) -> None:
    missing = sorted(name for name in frozen if name not in base)
    if missing:
        raise CheckpointError(f"--base lacks {missing[0]!r}: it is another architecture.")
    moved = sorted(name for name in frozen if not torch.equal(frozen[name], base[name]))
    if moved:
        raise CheckpointError(
            f"{where}: {first(moved)} ({len(moved)} in all) differ from --base, but HySAC leaves "
            "them frozen: it was tuned from another model, or the file is damaged."
        )


def _rank(merged: Mapping[str, Merged]) -> int:
    return max(m.rank for m in merged.values())


def _curvature_note(curvature: float) -> str | None:
    if math.isclose(curvature, 0.1, rel_tol=0.01):
        return None
    return f"the curvature is {curvature:.4f}; that of the released model should be 0.1"


def _shell_note(bounds: Mapping[str, Mapping[str, Any]]) -> str | None:
    radii = [bounds[name]["avg"] for name in CLASSES.values()] if bounds else []
    if radii == sorted(radii):
        return None
    return (
        "the bounds do not rise from safe texts over safe images and unsafe texts to unsafe images"
    )
