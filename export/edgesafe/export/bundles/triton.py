"""A Triton model repository: one model per network, its version the release of the package.

The server runs the networks; decoding, preprocessing, thresholds and verdicts stay with the client,
who has the package. The batch dimension is Triton's own (``max_batch_size``), so an output of one
number per row is declared as ``dims: [1]`` with a reshape to none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from edgesafe.export.bundles.graphs import Port, ServedNetwork, served_networks
from edgesafe.export.bundles.ownership import check_folder, mark_folder
from edgesafe.export.bundles.pbtxt import Enumerator, to_pbtxt
from edgesafe.runtime.backends.base import find_module
from edgesafe.runtime.errors import BackendError, ExportError
from edgesafe.runtime.files import atomic_folder, atomic_write
from edgesafe.runtime.package import Package, PosePackage

__all__ = ["TritonBackend", "model_config", "write_triton"]

TritonBackend = Literal["onnxruntime", "tensorrt"]

_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
}
_BATCH = "batch"
_QUEUE_MICROSECONDS = 500
_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}


def model_config(
    network: ServedNetwork, name: str, release: int, backend: TritonBackend, max_batch: int
) -> dict[str, Any]:
    """Return ``config.pbtxt`` of a network as a message for :func:`~.pbtxt.to_pbtxt`.

    Args:
        network: What is served.
        name: Of the model in the repository; it is that of its folder.
        release: Of the package; its version folder.
        backend: What runs it in the server.
        max_batch: Largest batch that the server puts together.

    Raises:
        ExportError: A tensor does not have the batch as its first dimension, or is of a type
            that Triton does not know.
    """
    gpu = backend == "tensorrt"
    config: dict[str, Any] = {
        "name": name,
        "backend": backend,
        "default_model_filename": _FILES[backend],
        "max_batch_size": max_batch,
        "input": [_tensor(port, network.name) for port in network.inputs],
        "output": [_tensor(port, network.name) for port in network.outputs],
        "version_policy": {"specific": {"versions": [release]}},
        "instance_group": [{"count": 1, "kind": Enumerator("KIND_GPU" if gpu else "KIND_AUTO")}],
        "dynamic_batching": {"max_queue_delay_microseconds": _QUEUE_MICROSECONDS},
    }
    if gpu:
        config["platform"] = "tensorrt_plan"
    else:
        # The arena keeps the largest batch it ever saw.
        config["parameters"] = [
            {"key": "enable_mem_arena", "value": {"string_value": "0"}},
            {"key": "edgesafe.precision", "value": {"string_value": network.precision}},
        ]
    return config


def write_triton(
    package: Package | PosePackage,
    target: Path,
    *,
    backend: TritonBackend = "onnxruntime",
    max_batch: int = 8,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Write a model repository, whole or not at all.

    With ``tensorrt`` the plans are built where this machine has TensorRT and a GPU; elsewhere the
    ONNX files take their places, and ``README.md`` says how to build.

    Args:
        package: Verified.
        target: The folder to make.
        backend: What runs the networks in the server.
        max_batch: Largest batch that the server puts together.
        overwrite: Replace such a folder, if edgesafe made it.
        progress: Told what is going to be done.

    Returns:
        The names of the models whose plan has still to be built.

    Raises:
        ExportError: A network cannot be served.
        UsageError: The folder exists and must not be replaced.
        OSError: It could not be written.
    """
    check_folder(target, "triton", overwrite=overwrite)
    # "." has no name that another folder could take.
    target = Path(os.path.abspath(target))
    manifest = package.manifest
    names, waiting = [], []
    with atomic_folder(target, overwrite=overwrite) as folder:
        for network in served_networks(package):
            name = f"{manifest.name}-{network.name}"
            names.append(name)
            config = model_config(network, name, manifest.release, backend, max_batch)
            version = folder / name / str(manifest.release)
            version.mkdir(parents=True)
            atomic_write(folder / name / "config.pbtxt", to_pbtxt(config).encode())
            plan = None
            if backend == "tensorrt":
                plan = _plan(network, max_batch, progress)
            if plan is not None:
                atomic_write(version / "model.plan", plan)
                continue
            atomic_write(version / "model.onnx", network.onnx)
            if backend == "tensorrt":
                waiting.append(name)
        text = _readme(manifest.identity, str(package.path.name), names, backend, waiting)
        atomic_write(folder / "README.md", text.encode())
        mark_folder(folder, "triton", manifest.identity)
    return waiting


def _tensor(port: Port, network: str) -> dict[str, Any]:
    if not port.shape or port.shape[0] != _BATCH:
        raise ExportError(
            f"{network}: {port.name} does not have the batch as its first dimension "
            f"({port.shape}): a server cannot batch it"
        )
    if port.dtype not in _TYPES:
        raise ExportError(f"{network}: {port.name} is of the type {port.dtype}, unknown to Triton")
    sizes = [size if isinstance(size, int) else -1 for size in port.shape[1:]]
    tensor: dict[str, Any] = {
        "name": port.name,
        "data_type": Enumerator(_TYPES[port.dtype]),
        "dims": sizes or [1],
    }
    if not sizes:
        tensor["reshape"] = {}
    return tensor


def _plan(network: ServedNetwork, max_batch: int, progress: Callable[[str], None]) -> bytes | None:
    """Build the engine on this machine; None where it has no TensorRT or no GPU."""
    from edgesafe.runtime.backends.cuda import open_device
    from edgesafe.runtime.backends.tensorrt_build import BuildFlags, build_plan, make_logger

    trt = find_module("tensorrt")
    if trt is None:
        return None
    try:
        device = open_device()
    except BackendError:
        return None
    progress(f"building the plan of {network.name}")
    device.activate()
    lengths = {} if network.max_tokens is None else {"max_length": network.max_tokens}
    flags = BuildFlags(max_batch=max_batch, **lengths)
    return build_plan(trt, network.onnx, flags, network.name, logger=make_logger(trt))


def _readme(identity: str, package: str, names: list[str], backend: str, waiting: list[str]) -> str:
    lines = [
        f"# Triton model repository of {identity}",
        "",
        "Start the server with this folder:",
        "",
        "```",
        "NVIDIA_TF32_OVERRIDE=0 tritonserver --model-repository=.",
        "```",
        "",
        "TF32 stays off: it changes embeddings by more than the differences that are measured.",
        "The server runs the networks. The client decodes, preprocesses and compares with the "
        f"thresholds, as the manifest of the package `{package}` says.",
        "",
        *(f"* `{name}`" for name in names),
    ]
    if waiting:
        lines += [
            "",
            "## Plans have still to be built",
            "",
            "A TensorRT plan works only with the TensorRT and the GPU that it was built with. On "
            "the server, in the image that will serve (it has `tensorrt`; install `edgesafe` and "
            "`onnx`), make this repository again in its place (DIR is this folder), and the plans "
            "are built:",
            "",
            "```",
            f"edgesafe export {package} --triton DIR --triton-backend {backend} --overwrite",
            "```",
        ]
    return "\n".join(lines) + "\n"
