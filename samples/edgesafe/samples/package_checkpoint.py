"""A checkpoint out of a pose package, to train its networks on (``edgesafe train pose --init``).

    python -m edgesafe.samples.package_checkpoint PKG --data DATASET --out CHECKPOINT

An export folds the batch normalisations into the convolutions before them. Training wants them
back: each is given the mean and the variance that its convolution has on regions of DATASET, and
the weights with which it then computes what the exported network computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edgesafe.calib.bop import BopDataset
from edgesafe.cli import run
from edgesafe.runtime.errors import CheckpointError, DataError, UsageError
from edgesafe.runtime.package import PosePackage, read_pose_package
from edgesafe.runtime.pose.crop import RoiCrop, crop_image
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.pose.checkpoint import NetworkInfo, PoseCheckpoint
from edgesafe.train.pose.layers import ConvNorm
from edgesafe.train.pose.network import RoiNetwork
from edgesafe.train.pose.objects import KnownObject

__all__ = ["checkpoint_of", "main"]

_REGIONS = 256
_FEWEST = 8
_MIN_VISIBLE = 0.3


def checkpoint_of(package: PosePackage, data: BopDataset) -> PoseCheckpoint:
    """Return a checkpoint of the package's vote networks of single objects that are in the data.

    Args:
        package: Verified.
        data: Frames with these objects and their boxes, which tell the batch normalisations what a
            region looks like.

    Raises:
        CheckpointError: A network is of another make.
        DataError: The data shows too little of an object, or a picture cannot be read.
    """
    manifest = package.manifest
    known = tuple(
        KnownObject.from_json(entry)
        for entry in manifest.raw["objects"]
        if entry["id"] in data.objects
    )
    found = PoseCheckpoint((), {}, known, seed=0, weights=manifest.raw["weights"])
    for entry in manifest.raw["networks"]:
        numbers = tuple(int(number) for number in entry["objects"])
        if len(numbers) != 1 or numbers[0] not in data.objects:
            continue
        name = Path(entry["file"]).stem
        trained: dict[str, Any] = manifest.raw["training"]["networks"][name]
        info = NetworkInfo(
            name=name,
            kind="roi",
            objects=numbers,
            architecture=trained["architecture"],
            preprocess=entry["preprocess"],
            options={"roi_scale": entry["roi_scale"]},
            config=trained["config"],
        )
        network = cast(RoiNetwork, info.build())
        _fill(network, package.files[entry["file"]], f"{package.path}/{entry['file']}")
        _unfold(network.eval(), _regions(data, info))
        found = found.with_network(info, network)
    if not found.networks:
        raise CheckpointError(
            f"{package.path} has no network of one object alone that is in {data.path}: name a "
            "data set with its objects"
        )
    return found


def _fill(network: RoiNetwork, graph: bytes, where: str) -> None:
    """Put the weights of a graph into a network, whose normalisations then do nothing."""
    given: dict[str, Tensor] = {}
    for one in onnx.load_from_string(graph).graph.initializer:
        value = numpy_helper.to_array(one).astype(np.float32)
        given[one.name.removesuffix(".fp16").removeprefix("network.")] = torch.from_numpy(value)
    state = network.state_dict()
    # The weights of the last layer are taken out of a table, and lose their name by it.
    for name in ("head.last.weight", "head.last.bias"):
        shape = state[name].shape[1:]
        alike = [value for key, value in given.items() if "." not in key and value.shape == shape]
        if len(alike) == 1:
            given[name] = alike[0][None]
    for name, layer in network.named_modules():
        if isinstance(layer, ConvNorm):
            bias = given.pop(f"{name}.0.bias", None)
            if bias is not None:
                given[f"{name}.1.bias"] = bias
                given[f"{name}.1.weight"] = torch.ones_like(bias)
                given[f"{name}.1.running_mean"] = torch.zeros_like(bias)
                epsilon = cast(nn.BatchNorm2d, layer[1]).eps
                given[f"{name}.1.running_var"] = torch.ones_like(bias) - epsilon
                given[f"{name}.1.num_batches_tracked"] = torch.tensor(0)
    wrong = [
        name for name, own in state.items() if name not in given or given[name].shape != own.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where} has no weights {wrong[0]!r} of the wanted shape: only networks of the vote "
            "head for one object, in fp32 or stored as fp16, can be trained on"
        )
    network.load_state_dict({name: given[name] for name in state})


def _unfold(network: RoiNetwork, pixels: Tensor) -> None:
    """Give each normalisation the statistics of these regions, and change nothing by it."""
    layers = [layer for layer in network.modules() if isinstance(layer, ConvNorm)]
    measured: dict[ConvNorm, tuple[Tensor, Tensor]] = {}

    def watch(layer: ConvNorm) -> Any:
        def note(_: nn.Module, __: Any, made: Tensor) -> None:
            variance, mean = torch.var_mean(made, dim=(0, 2, 3))
            measured[layer] = mean, variance

        return layer[0].register_forward_hook(note)

    hooks = [watch(layer) for layer in layers]
    with torch.no_grad():
        network(pixels)
        for layer, (mean, variance) in measured.items():
            norm = cast(nn.BatchNorm2d, layer[1])
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)
            cast(Tensor, norm.running_mean).copy_(mean)
            cast(Tensor, norm.running_var).copy_(variance)
    for hook in hooks:
        hook.remove()


def _regions(data: BopDataset, info: NetworkInfo) -> Tensor:
    """Return regions of an object as the network sees them, (n, 3, S, S)."""
    preprocess = Preprocess.from_dict(info.preprocess)
    (number,), scale = info.objects, float(info.options["roi_scale"])
    made: list[NDArray[np.uint8]] = []
    for frame in data.frames:
        boxes = [
            one.bbox_visib
            for one in frame.instances
            if one.obj_id == number
            and one.bbox_visib is not None
            and (one.visib_fract is None or one.visib_fract >= _MIN_VISIBLE)
        ]
        if boxes and len(made) < _REGIONS:
            rgb = frame.read_rgb()
            crops = [RoiCrop.from_box(box, scale, preprocess.width) for box in boxes]
            made += [crop_image(rgb, crop) for crop in crops]
    if len(made) < _FEWEST:
        raise DataError(
            f"{data.path} shows object {number} {len(made)} times: {_FEWEST} are needed, better "
            f"{_REGIONS}"
        )
    return torch.from_numpy(preprocess.normalize(np.stack(made)))


@click.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="BOP data set of its objects."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Checkpoint to write.")
def main(package: Path, data: Path, out: Path) -> None:
    """Write a checkpoint of the pose package PACKAGE, for `edgesafe train pose --init`."""
    if out.exists():
        raise UsageError(f"{out} exists: choose another --out")
    found = checkpoint_of(read_pose_package(package), BopDataset.open(data, prefer="train"))
    found.save(out)
    click.echo(f"{out}: {', '.join(info.name for info in found.networks)}")


if __name__ == "__main__":
    run(main)
