"""What `edgesafe bench export` compares: one tower, run by several libraries, on one thread.

The tower is the image tower of open_clip's ViT-B/32 with random weights: its speed is that of any
weights, its accuracy means nothing and is not reported.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgesafe.export.graph import export_tower
from edgesafe.export.quantise import quantise
from edgesafe.export.quantisers import available
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.sessions import open_session, why_unavailable

__all__ = ["GEMM", "Contender", "Tower", "floors", "make_contenders", "make_tower", "one_thread"]

GEMM = 1536
"""Side of the square matrices whose product gives the floors."""

_SEED = 0
_CALIBRATION = 8
_INPUT, _OUTPUT = "pixels", "features"

Run = Callable[[], Any]


@dataclass(frozen=True)
class Contender:
    """A way to run the tower: ``prepare(batch)`` returns what one run is."""

    name: str
    prepare: Callable[[int], Run]


@dataclass(frozen=True)
class Tower:
    """The tower, and its multiplications and additions for one picture."""

    name: str
    module: nn.Module
    side: int
    flops: int

    def pixels(self, batch: int) -> NDArray[np.float32]:
        """Noise float32 (batch, 3, side, side), the same at every call."""
        random = np.random.default_rng(_SEED)
        return random.standard_normal((batch, 3, self.side, self.side)).astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_tower(name: str) -> Tower:
    """Make the image tower of an open_clip architecture with random weights.

    Raises:
        UsageError: open_clip does not know the name.
    """
    import open_clip
    from torch.utils.flop_counter import FlopCounterMode

    if name not in open_clip.list_models():
        raise UsageError(f"open_clip knows no model {name!r}: try ViT-B-32")
    torch.manual_seed(_SEED)
    logging.getLogger().addFilter(_says_random)
    try:
        module = open_clip.create_model(name, pretrained=None).visual.eval()
    finally:
        logging.getLogger().removeFilter(_says_random)
    size = module.image_size
    side = int(size[0] if isinstance(size, tuple) else size)
    counter = FlopCounterMode(display=False)
    with counter:  # with gradients: the fast path of attention without them is not counted
        module(torch.zeros(1, 3, side, side))
    return Tower(name, module, side, int(counter.get_total_flops()))


def make_contenders(
    tower: Tower, *, compiled: bool, progress: Callable[[str], None]
) -> tuple[list[Contender], dict[str, str]]:
    """Export and quantise the tower.

    Args:
        tower: Which.
        compiled: Whether torch.compile takes part; it compiles for about a minute per batch size.
        progress: Told what is going to be done.

    Returns:
        The contenders, PyTorch eager first, and why others are left out.
    """
    found = [Contender("PyTorch eager", lambda batch: _torch(tower, tower.module, batch))]
    missing = {}
    if compiled:
        found.append(Contender("torch.compile", lambda batch: _compiled(tower, batch)))
    else:
        missing["torch.compile"] = "left out on request"
    progress("exporting the tower")
    example = torch.from_numpy(tower.pixels(2))
    proto = export_tower(tower.module, {_INPUT: example}, {_INPUT: {0: "batch"}})
    plain = proto.SerializeToString()
    found.append(
        Contender("ONNX Runtime fp32", lambda batch: _session(tower, plain, "cpu", "fp32", batch))
    )
    names = {"cpu": "int8 on ONNX Runtime", "openvino": "int8 on OpenVINO"}
    if not available("nncf"):
        return found, {**missing, **dict.fromkeys(names.values(), "nncf is not installed")}
    progress("quantising it with NNCF: symmetric, for transformers")
    batches = [{_INPUT: row[None]} for row in tower.pixels(_CALIBRATION)]
    quantised = quantise(proto, batches, "nncf", budget=0.0).model.SerializeToString()
    for backend, label in names.items():
        reason = why_unavailable(backend)
        if reason is not None:
            missing[label] = reason
            continue
        found.append(
            Contender(
                label,
                lambda batch, backend=backend: _session(  # type: ignore[misc]
                    tower, quantised, backend, "int8", batch
                ),
            )
        )
    return found, missing


def floors() -> dict[str, Run]:
    """Return products of square matrices of side :data:`GEMM`, in float32 and in int8."""
    random = torch.Generator().manual_seed(_SEED)
    a, b = (torch.randn(GEMM, GEMM, generator=random) for _ in range(2))
    p, q = (
        torch.randint(-127, 128, (GEMM, GEMM), dtype=torch.int8, generator=random) for _ in range(2)
    )
    return {"fp32": lambda: torch.mm(a, b), "int8": lambda: torch._int_mm(p, q)}


def _says_random(record: logging.LogRecord) -> bool:
    """Drops open_clip's warning that the weights are random: they are meant to be."""
    return "pretrained" not in record.getMessage()


def _torch(tower: Tower, module: Any, batch: int) -> Run:
    pixels = torch.from_numpy(tower.pixels(batch))

    def run() -> Any:
        with torch.no_grad():
            return module(pixels)

    return run


def _compiled(tower: Tower, batch: int) -> Run:
    inductor: Any = importlib.import_module("torch._inductor.config")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Freezing folds the weights in, as an export does; it is part of the call that compiles.
        inductor.freezing = True
        run = _torch(tower, torch.compile(tower.module, dynamic=False), batch)
        run()
    return run


def _session(tower: Tower, model: bytes, backend: str, precision: str, batch: int) -> Run:
    session = open_session(model, backend=backend, threads=1, precision=precision)
    feed = {_INPUT: tower.pixels(batch)}
    return lambda: session.run((_OUTPUT,), feed)
