"""Saliency of a pose network: where its answer hangs on the picture, as files for an audit.

``python -m edgesafe.train.pose.saliency CHECKPOINT SETS --out DIR`` writes
``DIR/SET/SCENE_IMAGE_OBJECT.npz`` for `edgesafe markers audit --saliency DIR`.

With y the network's answer as a vector and I its input:

* ``gradient``: the mean over random directions u ~ N(0, 1) of sum_c |d(u . y) / dI_c|. An answer
  of many numbers has no single gradient; every direction counts alike.
* ``gradcam``: sum_c |a_c A_c| with A the trunk's feature map and a_c = |d(u . y) / dA_c|, the norm
  over its cells, as in the program of Govi et al. (arXiv 2304.08230), the mean over the same u.
  Selvaraju et al., "Grad-CAM", ICCV 2017, take the mean of the gradient instead of its norm.
* ``integrated``: integrated gradients (Sundararajan et al., ICML 2017) from grey, with captum.

Such maps are diagnostic: they rank networks that fail without their markers as good ones.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgesafe.calib.markers.counterfactual_dataset import Sets, read_sets
from edgesafe.cli import run
from edgesafe.runtime.errors import CheckpointError, MissingExtraError, UsageError
from edgesafe.runtime.files import atomic_folder
from edgesafe.runtime.pose.crop import RoiCrop, crop_image
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.pose.checkpoint import load_pose_checkpoint
from edgesafe.train.pose.network import RoiNetwork

__all__ = ["METHODS", "SalientNetwork", "answer_vector", "saliency_maps", "write_saliency"]

Maps = dict[str, npt.NDArray[np.float32]]

METHODS = ("gradient", "gradcam", "integrated")

_DIRECTIONS = 6
_STEPS = 16
# Numbers of about one in an answer: pixels of keypoints and centres are tens.
_PIXELS = 8.0


@dataclass(frozen=True, eq=False)
class SalientNetwork:
    """A network with what it needs to see a region.

    Attributes:
        network: In evaluation mode.
        preprocess: Of its input.
        roi_scale: Side of a region over the longer side of the box.
        objects: Numbers of its objects, in the order of its index.
    """

    network: RoiNetwork
    preprocess: Preprocess
    roi_scale: float
    objects: tuple[int, ...]

    @classmethod
    def load(cls, path: Path) -> tuple[SalientNetwork, ...]:
        """Read the networks of regions of a checkpoint of pose training.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        checkpoint = load_pose_checkpoint(path)
        found = []
        for info in checkpoint.networks:
            network = checkpoint.network(info.name)
            if isinstance(network, RoiNetwork):
                preprocess = Preprocess.from_dict(info.preprocess)
                scale = float(info.options["roi_scale"])
                found.append(cls(network, preprocess, scale, info.objects))
        if not found:
            raise CheckpointError(f"{path} holds no network of regions.")
        return tuple(found)

    def pixels(self, rgb: npt.NDArray[np.uint8], roi: RoiCrop) -> Tensor:
        """Return a region as the network's input, (1, 3, S, S)."""
        return torch.from_numpy(self.preprocess(crop_image(rgb, roi)))[None]


def answer_vector(outputs: Mapping[str, Tensor]) -> Tensor:
    """Return the pose part of a head's outputs as one vector per sample, (B, n), of order one."""
    if "keypoints" in outputs:
        return outputs["keypoints"].flatten(1) / _PIXELS
    return torch.cat(
        [
            outputs["rotation"].flatten(1),
            outputs["centre"] / _PIXELS,
            outputs["log_scale"][:, None],
        ],
        dim=1,
    )


def saliency_maps(
    network: RoiNetwork,
    pixels: Tensor,
    index: Tensor,
    methods: Sequence[str] = ("gradient", "gradcam"),
    *,
    seed: int = 0,
) -> Maps:
    """Return maps (h, w) by method, of one region.

    Args:
        network: In evaluation mode.
        pixels: (1, 3, S, S), normalised.
        index: Object of the region (1,).
        methods: Of `METHODS`.
        seed: Of the directions.

    Raises:
        MissingExtraError: ``integrated`` needs captum.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = index if network.objects > 1 else None
    inputs = pixels.detach().clone().requires_grad_()
    features = network.trunk(inputs)
    answer = answer_vector(network.head(features, chosen))
    directions = torch.randn(_DIRECTIONS, answer.shape[1], generator=generator)
    maps: dict[str, Tensor] = {}
    for at, direction in enumerate(directions):
        last = at == len(directions) - 1
        on_input, on_features = torch.autograd.grad(
            (answer[0] * direction).sum(), [inputs, features], retain_graph=not last
        )
        weights = on_features.flatten(2).norm(dim=2)[..., None, None]
        found = {
            "gradient": on_input.abs().sum(dim=1)[0],
            "gradcam": (weights * features.detach()).abs().sum(dim=1)[0],
        }
        for name, values in found.items():
            maps[name] = maps.get(name, torch.zeros_like(values)) + values / _DIRECTIONS
    if "integrated" in methods:
        maps["integrated"] = _integrated(network, pixels, chosen, directions)
    return {name: maps[name].detach().numpy().astype(np.float32) for name in methods}


def write_saliency(
    networks: Sequence[SalientNetwork],
    sets: Sets,
    out: Path,
    *,
    kinds: Sequence[str],
    limit: int,
    methods: Sequence[str] = ("gradient", "gradcam"),
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Write the maps of networks on counterfactual sets and return how many files.

    Args:
        networks: Of one checkpoint; each object belongs to one of them.
        sets: Counterfactual sets.
        out: Folder to make.
        kinds: Which sets.
        limit: At most so many frames of each, evenly spread.
        methods: Of `METHODS`.
        seed: Of the directions.
        overwrite: Replace what is there.

    Raises:
        UsageError: ``out`` exists, a set or method is unknown, or nothing was written.
        DataError: A set is damaged.
    """
    unknown = sorted(set(methods) - set(METHODS)) + sorted(set(kinds) - set(sets.made))
    if unknown:
        raise UsageError(
            f"there is no {', '.join(unknown)}: methods are {', '.join(METHODS)}, sets "
            f"{', '.join(sets.made)}"
        )
    written = 0
    known = {obj_id: one for one in networks for obj_id in one.objects}
    with atomic_folder(out, overwrite=overwrite) as folder:
        for kind in kinds:
            (folder / kind).mkdir()
            for frame in sets.open(kind).thinned(limit).frames:
                rgb = frame.read_rgb()
                for one in frame.instances:
                    salient = known.get(one.obj_id)
                    if one.bbox_visib is None or salient is None:
                        continue
                    roi = RoiCrop.from_box(one.bbox_visib, salient.roi_scale, salient.network.size)
                    index = torch.tensor([salient.objects.index(one.obj_id)])
                    maps = saliency_maps(
                        salient.network, salient.pixels(rgb, roi), index, methods, seed=seed
                    )
                    u, v = (centre + 0.5 - roi.side / 2 for centre in roi.centre)
                    name = f"{frame.scene_id:06d}_{frame.im_id:06d}_{one.obj_id:06d}.npz"
                    _save(folder / kind / name, np.array([u, v, roi.side, roi.side]), maps)
                    written += 1
        if not written:
            raise UsageError(
                f"{sets.path} shows none of the networks' objects "
                f"{', '.join(map(str, sorted(known)))}"
            )
    return written


def _integrated(
    network: RoiNetwork, pixels: Tensor, index: Tensor | None, directions: Tensor
) -> Tensor:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise MissingExtraError("captum", "train") from None

    def along(inputs: Tensor, direction: Tensor) -> Tensor:
        # Every step of the path is a sample of the same object.
        chosen = None if index is None else index.expand(len(inputs))
        answer = answer_vector(network.head(network.trunk(inputs), chosen))
        return (answer * direction).sum(dim=1)

    method: Any = IntegratedGradients(along)
    total = torch.zeros_like(pixels[0, 0])
    for direction in directions:
        found = method.attribute(
            pixels, additional_forward_args=(direction[None],), n_steps=_STEPS,
            internal_batch_size=_STEPS,
        )  # fmt: skip
        total += cast(Tensor, found).abs().sum(dim=1)[0].float() / len(directions)
    return total


def _save(path: Path, box: npt.NDArray[np.float64], maps: Maps) -> None:
    stream = io.BytesIO()
    arrays: dict[str, Any] = {"box": box, **maps}
    np.savez_compressed(stream, **arrays)
    path.write_bytes(stream.getvalue())


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("sets", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--kinds", default="orig", show_default=True, metavar="KIND,KIND...")
@click.option("--methods", default="gradient,gradcam", show_default=True, metavar="NAME,NAME...")
@click.option("--limit", type=click.IntRange(min=1), default=25, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def saliency(
    checkpoint: Path, sets: Path, out: Path, kinds: str, methods: str, limit: int, seed: int
) -> None:
    """Write saliency maps of a pose checkpoint on counterfactual SETS."""
    count = write_saliency(
        SalientNetwork.load(checkpoint),
        read_sets(sets),
        out,
        kinds=kinds.split(","),
        limit=limit,
        methods=methods.split(","),
        seed=seed,
    )
    click.echo(f"{out}: {count} files")


if __name__ == "__main__":
    run(saliency)
