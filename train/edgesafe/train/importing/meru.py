"""The released MERU (arXiv 2304.09172): one file with the model among the state of its training."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.checkpoint import CheckpointInfo
from edgesafe.train.importing.meru_names import meru_state, shape_of_meru
from edgesafe.train.importing.released import (
    NON_COMMERCIAL,
    Imported,
    Origin,
    built,
    describe,
    euclidean,
    fill,
    hyperbolic,
    notes_of,
)
from edgesafe.train.importing.source import Source
from edgesafe.train.importing.weights import read_weights
from edgesafe.train.model import SafetyModel

__all__ = ["FILES", "import_meru"]

FILES = ("*.pth",)
_SCALARS = ("logit_scale", "curv", "visual_alpha", "textual_alpha")
_PIXELS = {"mean": "pixel_mean", "std": "pixel_std"}
_HEADS = {384: 12}
"""MoCo-v3's small transformer has 12 heads instead of 6."""
_NOTICE = "MERU by Desai et al., ICML 2023 (arXiv 2304.09172). Not for commercial use."


def import_meru(source: Source) -> Imported:
    """Reads the release; a file without a curvature is the paper's CLIP baseline.

    Raises:
        CheckpointError: The file is missing, broken, or not MERU's.
    """
    path = source.path if source.path.is_file() else _only_file(source)
    weights = read_weights(path)
    where = str(path)
    scalars = {name: weights.tensors[name] for name in _SCALARS if name in weights.tensors}
    state = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if name not in (*_SCALARS, *_PIXELS.values()) and not name.endswith("attn_mask")
    }
    shape = shape_of_meru(state, where)
    line = describe(path, weights.digest, source.name)
    config = shape.config(
        quick_gelu=False, image_heads=_HEADS.get(shape.image_width), pre_norm=False
    )
    encoder = built(
        f"MERU-{shape.name}",
        config,
        Origin(NON_COMMERCIAL, (line,), _NOTICE),
        {
            name: _three(weights.tensors.get(theirs), theirs, where)
            for name, theirs in _PIXELS.items()
        },
    )
    fill(encoder, meru_state(state, shape, where), where)
    flat = "curv" not in scalars
    model: SafetyModel
    if flat:
        model = euclidean(encoder, scalars.get("logit_scale"), where)
    else:
        model = hyperbolic(encoder, scalars, where)
    info = CheckpointInfo.of(model, method="clip" if flat else "meru", data={"imported": [line]})
    return Imported(
        model,
        info,
        notes_of("it has no curvature: this is the CLIP baseline of the paper" if flat else None),
    )


def _only_file(source: Source) -> Path:
    files = sorted(source.path.glob("*.pth"))
    if len(files) != 1:
        raise CheckpointError(f"{source.path} holds {len(files)} .pth files: name one of them.")
    return files[0]


def _three(tensor: Tensor | None, name: str, where: str) -> tuple[float, ...]:
    if tensor is None or tensor.numel() != 3:
        raise CheckpointError(f"{where}: {name} must hold three numbers.")
    return tuple(round(float(v), 6) for v in tensor.reshape(-1))
