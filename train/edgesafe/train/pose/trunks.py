"""Feature extractors: from pixels to one map of stride 8."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from edgesafe.train.encoders import edge
from edgesafe.train.pose.layers import ConvNorm, Residual

__all__ = ["LITE0", "LITE0_ORIGIN", "PLAIN", "LiteTrunk", "PlainTrunk", "build_trunk"]

PLAIN = "plain"
LITE0 = "efficientnet_lite0"
LITE0_ORIGIN = edge.ORIGIN[0]
STRIDE = 8


class PlainTrunk(nn.Module):
    """SoftVote-PnP's own trunk: stem, two stages with a residual block each, and their sum.

    Attributes:
        out: Channels of the map, twice the width.
    """

    def __init__(self, width: int) -> None:
        """Makes the layers of width w, 2w, 4w at strides 4, 8, 16."""
        super().__init__()
        self.out = 2 * width
        stem = nn.Conv2d(3, width, 6, 4, 1, bias=False)
        norm = nn.BatchNorm2d(width)
        self.stem = nn.Sequential(stem, norm, nn.ReLU(inplace=True), Residual(width))
        self.stage2 = nn.Sequential(ConvNorm(width, 2 * width, stride=2), Residual(2 * width))
        self.stage3 = nn.Sequential(ConvNorm(2 * width, 4 * width, stride=2), Residual(4 * width))
        self.near = nn.Conv2d(2 * width, self.out, 1)
        self.far = nn.Conv2d(4 * width, self.out, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2w, H / 8, W / 8)."""
        eighth = self.stage2(self.stem(pixels))
        far = self.far(self.stage3(eighth))
        return functional.relu(self.near(eighth) + _double(far))


class LiteTrunk(nn.Module):
    """EfficientNet-Lite0 up to stride 16, and a pyramid that brings it to stride 8.

    The classifier's stages of stride 32 are left out: for a region of interest they see nothing
    but the region's edge, and they are half of the weights. The batch normalisations are folded.

    Attributes:
        out: Channels of the map.
    """

    def __init__(self, out: int, *, fine: bool, pretrained: bool) -> None:
        """Builds the trunk.

        Args:
            out: Channels of the map.
            fine: Whether the stage of stride 4 joins the map too.
            pretrained: Whether to load the ImageNet weights.

        Raises:
            MissingExtraError: The package with the weights is not installed.
        """
        super().__init__()
        import timm

        whole: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        if pretrained:
            edge.load_trunk(whole)
        edge.fold_batch_norms(whole)
        self.out = out
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        self.stages = nn.ModuleList(list(whole.blocks)[:5])
        widths = [int(cast(Any, stage)[-1].conv_pwl.out_channels) for stage in self.stages[1:]]
        self.fine = ConvNorm(widths[0], out, stride=2, active=False) if fine else None
        self.near = ConvNorm(widths[1], out, 1, active=False)
        self.far = ConvNorm(widths[3], out, 1, active=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out, H / 8, W / 8)."""
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        joined = self.near(maps[2]) + _double(self.far(maps[4]))
        if self.fine is not None:
            joined = joined + self.fine(maps[1])
        return functional.relu(joined)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Those that may need a smaller learning rate."""
        return [*self.stem.parameters(), *self.stages.parameters()]


def build_trunk(name: str, width: int, *, fine: bool, pretrained: bool) -> PlainTrunk | LiteTrunk:
    """Builds a trunk whose map has ``2 * width`` channels.

    Raises:
        ValueError: There is no trunk of that name.
        MissingExtraError: The package with the pretrained weights is not installed.
    """
    if name == PLAIN:
        return PlainTrunk(width)
    if name == LITE0:
        return LiteTrunk(2 * width, fine=fine, pretrained=pretrained)
    raise ValueError(f"trunk must be {PLAIN} or {LITE0}, not {name!r}")


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
