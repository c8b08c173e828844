"""The network of a region of interest: a trunk and a head, built from a plain description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.train.pose.direct import DirectHead
from edgesafe.train.pose.trunks import LITE0, build_trunk
from edgesafe.train.pose.vote import VoteHead

__all__ = ["PROFILES", "RoiNetwork", "architecture_of", "input_preprocess"]

PROFILES: dict[str, tuple[int, int]] = {"tiny": (16, 128), "small": (32, 256), "base": (64, 256)}
"""Width and side of the input, pixels, of each profile."""


class RoiNetwork(nn.Module):
    """Trunk and head.

    Attributes:
        architecture: What `RoiNetwork` was made from; JSON-ready.
        size: Side of the input, pixels.
        objects: Number of objects served.
    """

    def __init__(self, architecture: Mapping[str, Any], *, pretrained: bool = False) -> None:
        """Builds the network.

        Args:
            architecture: See `architecture_of`.
            pretrained: Whether a pretrained trunk gets its weights.

        Raises:
            CheckpointError: The description is not one.
            MissingExtraError: The package with the pretrained weights is not installed.
        """
        super().__init__()
        self.architecture = dict(architecture)
        try:
            self.size = int(architecture["size"])
            self.objects = int(architecture["objects"])
            self.kind = str(architecture["head"])
            width, hidden = int(architecture["width"]), int(architecture["hidden"])
            keypoints = int(architecture["keypoints"])
            self.trunk = build_trunk(
                str(architecture["trunk"]),
                width,
                fine=bool(architecture["fine"]),
                pretrained=pretrained,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the network's architecture is not valid: {error}.") from error
        self.head: VoteHead | DirectHead
        if self.kind == "vote":
            self.head = VoteHead(self.trunk.out, hidden, self.size, keypoints, self.objects)
        elif self.kind == "direct":
            self.head = DirectHead(self.trunk.out, hidden, self.size, self.objects)
        else:
            raise CheckpointError(f"the network's head must be vote or direct, not {self.kind!r}.")

    def forward(self, pixels: Tensor, index: Tensor | None = None) -> dict[str, Tensor]:
        """Looks at regions of interest.

        Args:
            pixels: (B, 3, S, S), normalised.
            index: Object of each sample (B,), counted from 0; needed where there are several.

        Returns:
            What the head gives; see `VoteHead` and `DirectHead`.
        """
        chosen = index if self.objects > 1 else None
        return cast(dict[str, Tensor], self.head(self.trunk(pixels), chosen))


def architecture_of(
    *,
    profile: str,
    trunk: str,
    head: str,
    size: int = 0,
    width: int = 0,
    hidden: int = 0,
    fine: bool = True,
    keypoints: int,
    objects: int,
) -> dict[str, Any]:
    """Describes a network by its profile and what differs from it.

    Args:
        profile: tiny, small or base.
        trunk: plain or efficientnet_lite0.
        head: vote or direct.
        size: Side of the input, pixels, a multiple of 32; 0 for the profile's.
        width: w; the map of stride 8 has 2w channels; 0 for the profile's.
        hidden: Channels of the head; 0 for 4w.
        fine: Whether a pretrained trunk's stage of stride 4 joins the map.
        keypoints: K.
        objects: Number of objects.
    """
    own_width, own_size = PROFILES[profile]
    width = width or own_width
    return {
        "trunk": trunk,
        "head": head,
        "size": size or own_size,
        "width": width,
        "hidden": hidden or 4 * width,
        "fine": fine and trunk == LITE0,
        "keypoints": keypoints,
        "objects": objects,
    }


def input_preprocess(height: int, width: int) -> Preprocess:
    """Pixels scaled to -1..1, which is what the pretrained trunk was trained on too."""
    half = (0.5, 0.5, 0.5)
    return Preprocess(height, width, "stretch", "bilinear", half, half)
