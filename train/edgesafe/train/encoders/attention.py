"""open_clip's packed attention as four plain Linear layers.

`nn.MultiheadAttention` multiplies with ``in_proj_weight`` and ``out_proj.weight`` itself and never
calls ``out_proj``: an adapter on it is silently dead, and there is no k or v layer to adapt.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class UnpackedAttention(nn.Module):
    """`nn.MultiheadAttention` with ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` layers.

    Attributes:
        q_proj: Queries.
        k_proj: Keys.
        v_proj: Values.
        out_proj: Output.
        heads: Number of heads.
        batch_first: Whether sequences are (B, T, d) instead of (T, B, d).
    """

    def __init__(self, packed: nn.MultiheadAttention) -> None:
        """Copies the weights of a packed layer."""
        super().__init__()
        if packed.bias_k is not None or packed.add_zero_attn:
            raise ValueError("attention with added keys cannot be unpacked")
        dim = packed.embed_dim
        self.heads = packed.num_heads
        self.batch_first = packed.batch_first
        self.dropout = packed.dropout
        if packed.in_proj_weight is not None:
            weights = list(packed.in_proj_weight.chunk(3))
        else:
            separate = (packed.q_proj_weight, packed.k_proj_weight, packed.v_proj_weight)
            weights = [w for w in separate if w is not None]
        has_bias = packed.in_proj_bias is not None
        biases = list(packed.in_proj_bias.chunk(3)) if has_bias else [None] * 3
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = nn.Linear(dim, dim, bias=packed.out_proj.bias is not None)
        self.out_proj.load_state_dict(packed.out_proj.state_dict())

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attends.

        Args:
            query: (B, T, d), or (T, B, d) without ``batch_first``.
            key: (B, S, d).
            value: (B, S, d).
            need_weights: Must be false; the weights are never made.
            attn_mask: Added to the scores: (T, S), or (B * heads, T, S).

        Returns:
            The output, shaped like the query, and None in place of the weights.
        """
        if need_weights:
            raise ValueError("UnpackedAttention does not return its weights")
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q = self._split(self.q_proj(query))
        k = self._split(self.k_proj(key))
        v = self._split(self.v_proj(value))
        if attn_mask is not None:
            if attn_mask.ndim == 3:
                attn_mask = attn_mask.reshape(q.shape[0], self.heads, *attn_mask.shape[1:])
            if attn_mask.dtype != torch.bool:
                attn_mask = attn_mask.to(q.dtype)
        dropout = self.dropout if self.training else 0.0
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask, dropout)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        return (out if self.batch_first else out.transpose(0, 1)), None

    def _split(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        return x.reshape(batch, length, self.heads, dim // self.heads).transpose(1, 2)


def unpack_attention(module: nn.Module) -> int:
    """Replaces every `nn.MultiheadAttention` inside a module, in place.

    Returns:
        How many were replaced.
    """
    count = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(parent, name, UnpackedAttention(child).train(child.training))
                count += 1
    return count


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
