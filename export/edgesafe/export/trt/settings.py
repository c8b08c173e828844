"""What the user of ``edgesafe export --trt`` chooses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesafe.export.trt.device.profiles import Range
from edgesafe.export.trt.networks import Network

__all__ = ["SM_OPTIONAL", "SMS", "TrtOptions", "default_profile"]

SMS = ("SM80", "SM86", "SM89", "SM120", "SM121")
"""Compute capabilities that every network must build for."""

SM_OPTIONAL = ("SM75",)
"""Built for where TensorRT-RTX does; a refusal (it has no FP32 GEMM there) is reported."""

_BATCH = Range(1, 1, 8)


@dataclass(frozen=True)
class TrtOptions:
    """How to make a bundle, and how to check it.

    Attributes:
        bundle: Whether to write one (``--trt``).
        verify: Whether to build its networks with TensorRT-RTX (``--verify-build``).
        sms: Compute capabilities for that; empty for all.
        profiles: Options ``NAME=min,opt,max``.
        stored_weights: Whether weights stored as int8 stay behind ``DequantizeLinear``.
        workspace: MiB; None for as much as there is.
        version_compatible: Default of the build script.
        hardware_compatible: Default of the build script.
        dla: Default of the build script.
        timing_cache: A cache measured before, to travel in the bundle.
    """

    bundle: bool = False
    verify: bool = False
    sms: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    stored_weights: bool = False
    workspace: int | None = None
    version_compatible: bool = False
    hardware_compatible: str | None = None
    dla: int | None = None
    timing_cache: Path | None = None

    def defaults(self) -> dict[str, Any]:
        """Those of the build script that differ from its own."""
        given = {
            "workspace": self.workspace,
            "version_compatible": self.version_compatible or None,
            "hardware_compatible": self.hardware_compatible,
            "dla": self.dla,
        }
        return {name: value for name, value in given.items() if value is not None}


def default_profile(network: Network) -> dict[str, Range]:
    """One picture or text at a time, and up to eight; texts of any length, usually short."""
    open_ = {d for value in network.inputs.values() for d in value.shape if isinstance(d, str)}
    found = {}
    if "batch" in open_:
        found["batch"] = _BATCH
    if "tokens" in open_:
        longest = network.limits.get("tokens", 512)
        # A text has at least its two special tokens.
        found["tokens"] = Range(min(2, longest), min(16, longest), longest)
    return found
