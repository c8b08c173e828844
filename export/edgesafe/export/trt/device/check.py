"""Runs the golden inputs of a bundle through an engine and compares its answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda import Cuda
from .profiles import Range, shapes
from .reading import Bundle, BundleError

__all__ = ["batches", "check_engine", "relative_error"]

Arrays = dict[str, NDArray[Any]]


def check_engine(
    trt: Any,
    bundle: Bundle,
    name: str,
    plan: bytes,
    profile: Mapping[str, Range],
    say: Callable[[str], None] = print,
) -> bool:
    """Compare an engine with the golden answers of its network.

    Args:
        trt: The module ``tensorrt``.
        bundle: Where the golden inputs are.
        name: Of the network.
        plan: The engine, built on this machine.
        profile: What it was built for.
        say: Called with a line per output.

    Returns:
        Whether every output is within its tolerance.

    Raises:
        BundleError: The engine cannot be run, or the profile admits no golden input.
    """
    network = bundle.networks[name]
    with np.load(io.BytesIO(bundle.read(network["golden"]["file"]))) as archive:
        golden = {key: archive[key] for key in archive.files}
    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BundleError(f"TensorRT does not load the engine of {name}: build it again")
    cuda = Cuda()
    worst = dict.fromkeys(network["outputs"], 0.0)
    rows = 0
    for inputs, outputs in batches(golden, network["inputs"], profile):
        found = _execute(trt, engine, cuda, inputs, list(outputs))
        for key, expected in outputs.items():
            error = relative_error(found[key], expected)
            # Written so that NaN stays.
            worst[key] = worst[key] if error <= worst[key] else error
        rows += len(next(iter(outputs.values())))
    if not rows:
        raise BundleError(f"the profile of {name} admits none of its golden inputs")
    tolerances = network["golden"]["tolerances"]
    passed = True
    for key, error in worst.items():
        # Written so that NaN fails.
        good = error <= tolerances[key]
        passed = passed and good
        say(
            f"{name}.{key}: off by {error:.1e} at most over {rows} inputs, "
            f"{tolerances[key]:.0e} allowed{'' if good else ': FAILED'}"
        )
    return passed


def batches(
    golden: Arrays, inputs: Mapping[str, Any], profile: Mapping[str, Range]
) -> Iterator[tuple[Arrays, Arrays]]:
    """Yield the golden inputs that a profile admits, one by one or as often as it needs at least.

    Args:
        golden: ``in:NAME:INDEX`` and ``out:NAME:INDEX``, each with a batch of one.
        inputs: Description of the inputs in the bundle.
        profile: Sizes of the open dimensions.
    """
    least = {key: shapes(value["shape"], profile) for key, value in inputs.items()}
    repeat = profile["batch"].min if "batch" in profile else 1
    indices = sorted({int(key.rsplit(":", 1)[1]) for key in golden})
    for index in indices:
        feeds: Arrays = {}
        answers: Arrays = {}
        for key, value in golden.items():
            kind, name, number = key.split(":")
            if int(number) == index:
                repeated = np.ascontiguousarray(np.repeat(value, repeat, axis=0))
                (feeds if kind == "in" else answers)[name] = repeated
        if all(_within(feeds[key].shape, *least[key]) for key in inputs):
            yield feeds, answers


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest length of a row's difference over the length of the row."""
    rows = len(expected)
    wide = np.asarray(expected, np.float64).reshape(rows, -1)
    apart = np.linalg.norm(np.asarray(found, np.float64).reshape(rows, -1) - wide, axis=1)
    return float(np.max(apart / np.maximum(np.linalg.norm(wide, axis=1), 1e-6)))


def _within(
    shape: tuple[int, ...], low: tuple[int, ...], usual: tuple[int, ...], high: tuple[int, ...]
) -> bool:
    return all(a <= n <= b for n, a, b in zip(shape, low, high, strict=True))


def _execute(trt: Any, engine: Any, cuda: Cuda, inputs: Arrays, outputs: list[str]) -> Arrays:
    context = engine.create_execution_context()
    with cuda.buffers() as buffers:
        for name, value in inputs.items():
            context.set_input_shape(name, value.shape)
            context.set_tensor_address(name, buffers.upload(value))
        found: Arrays = {}
        addresses = {}
        for name in outputs:
            shape = tuple(context.get_tensor_shape(name))
            found[name] = np.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
            addresses[name] = buffers.reserve(found[name].nbytes)
            context.set_tensor_address(name, addresses[name])
        with cuda.stream() as stream:
            if not context.execute_async_v3(stream):
                raise BundleError("TensorRT cannot run the engine: its messages above say why")
            cuda.wait(stream)
        for name, value in found.items():
            buffers.download(addresses[name], value)
    return found
