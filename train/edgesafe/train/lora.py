"""Low-rank adapters (Hu et al. 2021) through peft, and their merging into plain weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from edgesafe.runtime.errors import UsageError

if TYPE_CHECKING:
    from edgesafe.train.encoders.base import LoraSettings

ADAPTER = "default"
"""The name that peft gives to an only adapter."""


def inject(tower: nn.Module, settings: LoraSettings, targets: Sequence[str], *, where: str) -> None:
    """Puts adapters on every module of a tower whose name ends in one of the targets, in place.

    Only the adapters of the tower require a gradient afterwards.

    Args:
        tower: The module to adapt.
        settings: Rank, scale and dropout; its ``targets`` come before the encoder's. One list
            serves both towers, so those that this tower lacks are passed over.
        targets: Last parts of module names that the encoder wants, such as ``k_proj``; each must
            be there.
        where: Name of the tower, for messages.

    Raises:
        UsageError: A target matches no Linear or convolution of the tower.
    """
    from peft import LoraConfig, inject_adapter_in_model

    adaptable = [
        name
        for name, module in tower.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)
    ]
    wanted = settings.targets or targets
    targets = [t for t in wanted if any(n == t or n.endswith("." + t) for n in adaptable)]
    if not targets or (len(targets) < len(wanted) and not settings.targets):
        missing = sorted(set(wanted) - set(targets)) or ["(none is known)"]
        ends = sorted({name.rsplit(".", 1)[-1] for name in adaptable})
        raise UsageError(
            f"lora: the {where} tower has no layer {', '.join(missing)}. Set lora.targets; its "
            f"layers end in: {', '.join(ends)}."
        )
    config = LoraConfig(
        r=settings.r,
        lora_alpha=cast(int, settings.alpha),
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )
    inject_adapter_in_model(config, tower, adapter_name=ADAPTER)


def merged_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model as it would be without peft: adapters added to their weights.

    The model itself is left alone, so that training can go on bit for bit.
    """
    from peft.tuners.lora import LoraLayer

    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)
    }
    merged: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        owner = next((layer for layer in layers if name.startswith(layer + ".")), None)
        if owner is None:
            merged[name] = tensor
            continue
        inner = name[len(owner) + 1 :]
        if not inner.startswith("base_layer."):
            continue
        plain = inner.removeprefix("base_layer.")
        if plain == "weight":
            delta = cast(Any, layers[owner]).get_delta_weight(ADAPTER)
            tensor = tensor + delta.to(tensor.dtype)
        merged[f"{owner}.{plain}"] = tensor
    return merged
