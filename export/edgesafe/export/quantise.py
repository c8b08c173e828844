"""A tower in int8: the method, what stays in float32, and the cache of finished graphs.

The method is chosen by what was measured (docs/precision.md): NNCF with SmoothQuant for
transformers, the placement of :mod:`edgesafe.export.qdq` for convolutional networks. Hard operators
(:mod:`edgesafe.export.sensitivity`) stay in float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import numpy as np
import onnx
from onnx import ModelProto

from edgesafe.export.qdq import quantise_mse
from edgesafe.export.quantisers import OTHERS, available, quantise_with
from edgesafe.export.ranges import Batch
from edgesafe.export.sensitivity import BUDGET, Hardness, hard_nodes, measure_hardness
from edgesafe.export.typed_graph import tail
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import sha256_hex
from edgesafe.runtime.owner_cache import CacheUnusable, OwnerCache
from edgesafe.runtime.version import VERSION

__all__ = ["METHODS", "Quantised", "choose_method", "fingerprint", "is_transformer", "quantise"]

METHODS = ("auto", "mse", *OTHERS)

_MAX_BYTES = 2**31 - 1
_CACHE = "quantised"


@dataclass(frozen=True)
class Quantised:
    """A tower in int8.

    Attributes:
        model: Without head, like the one it was made of.
        method: One of :data:`METHODS` but ``auto``.
        onnx_sha256: Of the float32 tower.
        data_sha256: Of the calibration inputs.
        n: Calibration inputs.
        keep: Share of the multiplications that might stay in float32.
        cached: It was made before.
    """

    model: ModelProto = field(repr=False)
    method: str
    onnx_sha256: str
    data_sha256: str
    n: int
    keep: float
    cached: bool

    def to_json(self) -> dict[str, str | int | float]:
        """The manifest's form."""
        return {
            "method": self.method,
            "data_sha256": self.data_sha256,
            "onnx_sha256": self.onnx_sha256,
            "n": self.n,
            "keep": self.keep,
        }


def is_transformer(model: ModelProto) -> bool:
    """Tells whether a tower normalises its layers, as transformers do."""
    return any(node.op_type == "LayerNormalization" for node in model.graph.node)


def choose_method(model: ModelProto, wanted: str = "auto") -> str:
    """Returns the method for a tower.

    Raises:
        UsageError: There is no such method.
    """
    if wanted not in METHODS:
        raise UsageError(f"the method {wanted!r} is unknown: choose one of {', '.join(METHODS)}")
    if wanted != "auto":
        return wanted
    return "nncf" if is_transformer(model) and available("nncf") else "mse"


def fingerprint(batches: Sequence[Batch]) -> str:
    """Returns the SHA-256 of the values of calibration inputs, in their order."""
    digest = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            array = np.ascontiguousarray(batch[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def quantise(
    model: ModelProto,
    batches: Sequence[Batch],
    method: str = "auto",
    *,
    budget: float = BUDGET,
    cache: bool = True,
) -> Quantised:
    """Quantises a tower, or takes the result of the same work from the cache.

    Args:
        model: A tower in float32, with folded weights and named nodes; left as it is.
        batches: Calibration inputs by name, at least one.
        method: One of :data:`METHODS`.
        budget: Share of the multiplications that may stay in float32.
        cache: Whether to look for and keep the result.

    Raises:
        UsageError: The method is unknown or not installed, or there are no inputs.
        ExportError: The method fails on this graph.
    """
    if not batches:
        raise UsageError("int8 needs calibration data and there is none: give --calib")
    chosen = choose_method(model, method)
    onnx_sha256 = sha256_hex(model.SerializeToString(deterministic=True))
    data_sha256 = fingerprint(batches)
    key = sha256_hex(f"{onnx_sha256} {data_sha256} {chosen} {budget} {VERSION}".encode())
    store = _store() if cache else None
    data = store.read(f"{key}.onnx", _MAX_BYTES) if store else None
    if data is None:
        found = _hardness(model, batches, f"{onnx_sha256} {data_sha256}", store) if budget else []
        keep = hard_nodes(found, budget)
        if chosen == "mse":
            made = quantise_mse(model, batches, keep)
        else:
            keep += sorted(tail(model))
            made = quantise_with(chosen, model, batches, keep, transformer=is_transformer(model))
        if store:
            with suppress(OSError):  # a full disk costs time, not the result
                store.write(f"{key}.onnx", made.SerializeToString())
    else:
        made = onnx.load_from_string(data)
    return Quantised(made, chosen, onnx_sha256, data_sha256, len(batches), budget, data is not None)


def _hardness(
    model: ModelProto, batches: Sequence[Batch], of: str, store: OwnerCache | None
) -> list[Hardness]:
    """Measures the operators, or takes what was measured for another budget."""
    name = f"{sha256_hex(f'{of} hardness {VERSION}'.encode())}.json"
    data = store.read(name, _MAX_BYTES) if store else None
    if data is not None:
        return [Hardness(**item) for item in json.loads(data)]
    found = measure_hardness(model, batches)
    if store:
        with suppress(OSError):  # a full disk costs time, not the result
            store.write(name, json.dumps([asdict(item) for item in found]).encode())
    return found


def _store() -> OwnerCache | None:
    try:
        return OwnerCache(_CACHE)
    except CacheUnusable:
        return None
