"""Build a TensorRT engine from the bytes of an ONNX model: TensorRT 10.3 and later.

Strongly typed, so that every layer computes in the type that the graph gives it, and without TF32.
The sizes that a model leaves open are the batch (first axis) and the length of a text (second axis
of two); the optimisation profile says how far each may go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from edgesafe.runtime.errors import BackendError

__all__ = ["BuildFlags", "build_plan", "make_logger"]

_log = logging.getLogger("edgesafe.tensorrt")


@dataclass(frozen=True)
class BuildFlags:
    """How an engine is built.

    Attributes:
        opt_batch: What it is tuned for.
        max_batch: Larger batches are run in pieces.
        opt_length: Text length that it is tuned for.
        max_length: Largest text length.
        workspace: Bytes of scratch memory that a layer may ask for.
    """

    opt_batch: int = 1
    max_batch: int = 8
    opt_length: int = 32
    max_length: int = 512
    workspace: int = 1 << 30

    def to_json(self) -> dict[str, Any]:
        """Return all that the engine depends on, what is always so included."""
        return {**asdict(self), "strongly_typed": True, "tf32": False}


def make_logger(trt: Any) -> Any:
    """Return a logger of TensorRT that writes to :mod:`logging`, never to standard output."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            errors = (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)
            _log.log(logging.ERROR if severity in errors else logging.DEBUG, "%s", message)

    return Logger()


def build_plan(
    trt: Any,
    model: bytes,
    flags: BuildFlags,
    where: str,
    *,
    logger: Any,
    configure: Callable[[Any], None] | None = None,
) -> bytes:
    """Parse and build.

    Args:
        trt: The module ``tensorrt``.
        model: The verified ONNX file.
        flags: How to build.
        where: What to call the model in messages.
        logger: Of :func:`make_logger`.
        configure: May change the builder's configuration, e.g. set the target.

    Raises:
        BackendError: TensorRT cannot parse or build it.
    """
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise _refused(where, "parse", (_reason(error) for error in errors))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, flags.workspace)
    # On by default, and wrong by more than the distances that the hyperbolic head measures.
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    open_sizes = False
    for index in range(network.num_inputs):
        port = network.get_input(index)
        shape = tuple(port.shape)
        if -1 in shape:
            open_sizes = True
            profile.set_shape(port.name, *_profile(shape, flags, port.name, where))
    if open_sizes:
        config.add_optimization_profile(profile)
    if configure is not None:
        configure(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused(where, "build", ())
    return bytes(plan)


def _profile(
    shape: tuple[int, ...], flags: BuildFlags, name: str, where: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    low, middle, high = list(shape), list(shape), list(shape)
    for axis, size in enumerate(shape):
        if size != -1:
            continue
        if axis == 0:
            low[0], middle[0], high[0] = 1, flags.opt_batch, flags.max_batch
        elif axis == 1 and len(shape) == 2:
            most = flags.max_length
            low[1], middle[1], high[1] = 1, min(flags.opt_length, most), most
        else:
            raise BackendError(
                f"{where}: axis {axis} of the input {name} is open; only the batch and the length "
                "of a text may be: export the package again"
            )
    return tuple(low), tuple(middle), tuple(high)


def _reason(error: Any) -> str:
    return f"{error.node_operator()} {error.node_name()!r}: {error.desc()}"


def _refused(where: str, step: str, reasons: Iterable[str]) -> BackendError:
    lines = "; ".join(reasons) or "its log has the reason (logger edgesafe.tensorrt)"
    return BackendError(
        f"TensorRT cannot {step} {where}: {lines}; use the backend 'cuda' or 'cpu', or update "
        "TensorRT"
    )
