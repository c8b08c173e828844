"""From a pose network to an ONNX graph of standard operators, static but for the batch."""

from __future__ import annotations

import copy
import warnings

import onnxscript.optimizer
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgesafe.export import graph
from edgesafe.runtime.errors import ExportError
from edgesafe.train.pose.detector import Detector
from edgesafe.train.pose.network import RoiNetwork

__all__ = ["Exportable", "IMAGE", "OBJECT", "export_pose_graph", "fold"]

IMAGE, OBJECT = "image", "object"
_IR_VERSION = 8


class Exportable(nn.Module):
    """A network with the outputs of a package, in their order.

    Attributes:
        outputs: Their names.
        objects: How many objects it serves.
    """

    def __init__(self, network: RoiNetwork | Detector) -> None:
        """Wraps a network, in evaluation mode."""
        super().__init__()
        self.network = network
        self.outputs: tuple[str, ...]
        self.objects = 1
        if isinstance(network, Detector):
            self.outputs = ("heat", "box")
        else:
            self.objects = network.objects
            vote = network.kind == "vote"
            first = ("keypoints", "covariance") if vote else ("rotation", "centre", "log_scale")
            self.outputs = (*first, "mask")
        # The wrapper too: an exporter may restore its mode in all that is in it, and batch
        # normalisations would then be in training mode afterwards.
        self.eval()

    def forward(self, image: Tensor, object: Tensor | None = None) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised, and the index of each one's object (B,) where it has several."""
        if isinstance(self.network, Detector):
            found = self.network(image)
        else:
            found = self.network(image, object)
        probabilities = {"mask", "heat"}
        return tuple(
            found[name].sigmoid() if name in probabilities else found[name] for name in self.outputs
        )


def fold(network: RoiNetwork | Detector) -> RoiNetwork | Detector:
    """A copy whose batch normalisations have become part of the convolutions before them.

    Done in double precision; the copy is in single precision and in evaluation mode.
    """
    copied = copy.deepcopy(network).double().eval()
    for module in copied.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            first, second = module[i], module[i + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[i], module[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    if any(isinstance(module, nn.BatchNorm2d) for module in copied.modules()):
        raise ExportError("a batch normalisation of the network follows no convolution")
    return copied.float().requires_grad_(False)


def export_pose_graph(
    module: Exportable, height: int, width: int, *, opset: int = graph.MINIMUM_OPSET
) -> ModelProto:
    """Exports a folded network.

    Args:
        module: The network.
        height: Of its input, pixels.
        width: Of its input, pixels.
        opset: Version of the standard operators, 18 to 22.

    Returns:
        A graph from ``image``, and ``object`` where the network serves several, to its outputs.

    Raises:
        ExportError: The exporter refuses the network, or leaves the batch fixed or other shapes
            open.
    """
    inputs = {IMAGE: torch.zeros(2, 3, height, width)}
    if module.objects > 1:
        inputs[OBJECT] = torch.zeros(2, dtype=torch.int64)
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings():
            # The exporter warns of its own deprecations.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=opset,
                input_names=list(inputs),
                output_names=list(module.outputs),
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                optimize=True,
                verbose=False,
            )
            assert program is not None
            onnxscript.optimizer.inline(program.model)
            onnxscript.optimizer.fold_constants(program.model)
            onnxscript.optimizer.remove_unused_nodes(program.model)
            model: ModelProto = program.model_proto
    except Exception as error:  # the exporter's errors have no common base but this
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"torch cannot export the network at opset {opset}: {reason[0]}"
        ) from error
    graph.strip(model)
    model.ir_version = _IR_VERSION
    _check_static(model)
    return model


def _check_static(model: ModelProto) -> None:
    """Refuses operators that compute shapes: TensorRT would plan for them on the host."""
    wrong = {"Shape", "Size", "NonZero", "Loop", "If", "Scan"}
    found = sorted({node.op_type for node in model.graph.node} & wrong)
    if found:
        raise ExportError(f"the exported graph computes shapes ({', '.join(found)})")
