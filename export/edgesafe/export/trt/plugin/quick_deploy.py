"""The hyperbolic head as quick-deploy plugins of TensorRT (10.9 and later), without a compiler.

``import quick_deploy`` registers ``edgesafe::ExpMap0`` and the other operators; a parser then
finds them for the nodes of a plugin graph. The kernels are the PTX file beside this module, which
was compiled where the bundle was made; TensorRT puts it into the engine, so that an engine that
was built once runs without Python. With ``PREFER_JIT_PYTHON_PLUGINS`` the same PTX is launched
from Python instead.

TensorRT reads the types of the functions below from their annotations as objects, so this module
has no ``from __future__ import annotations``; and it allows no dot in a namespace, so theirs is
``edgesafe`` and not the ``ai.edgesafe`` of the graph's nodes, which name it in an attribute.
"""

# TensorRT has no type information, and so neither have its decorators.
# mypy: disable-error-code="untyped-decorator"

import ctypes
import struct
from functools import cache
from pathlib import Path
from typing import Any

import tensorrt.plugin as trtp

__all__ = ["KERNELS", "NAMESPACE", "PTX"]

NAMESPACE = "edgesafe"
PTX = Path(__file__).with_name("edgesafe_head.ptx")
KERNELS = {
    "ExpMap0": "edgesafe_exp_map0",
    "RootDistance": "edgesafe_root_distance",
    "HalfAperture": "edgesafe_half_aperture",
    "Traverse": "edgesafe_traverse",
    "LorentzDistance": "edgesafe_lorentz_distance",
    "ExteriorAngle": "edgesafe_exterior_angle",
}

# As in kernels.cuh: one warp per row or pair.
_THREADS = 128
_WARPS = _THREADS // 32

AotResult = tuple[str, bytes, trtp.KernelLaunchParams, trtp.SymIntExprs]
"""Name of the kernel, PTX, launch, and what the kernel gets between its inputs and outputs."""


def _id(name: str) -> str:
    return f"{NAMESPACE}::{name}"


def _rows(x: trtp.TensorDesc) -> Any:
    """Product of all dimensions but the last, an expression."""
    return x.shape_expr.numel() // x.shape_expr[x.ndim - 1]


def _bits(value: float) -> int:
    """A float as the 32-bit integer of the same bits: scalars of kernels are integers."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def _aot(name: str, warps: Any, scalars: tuple[Any, ...]) -> AotResult:
    launch = trtp.KernelLaunchParams()
    launch.grid_x = trtp.cdiv(warps, _WARPS)
    launch.block_x = _THREADS
    extra = trtp.SymIntExprs(len(scalars))
    for index, scalar in enumerate(scalars):
        extra[index] = trtp.SymInt32(scalar)
    return KERNELS[name], PTX.read_bytes(), launch, extra


def _tune(tensors: int) -> list[trtp.AutoTuneCombination]:
    """Float32, linear, whatever the network around: the head has no meaning in less."""
    return [trtp.AutoTuneCombination(", ".join(["FP32"] * tensors), "LINEAR")]


# --- rows: X and C --------------------------------------------------------------------------------


@trtp.register(_id("ExpMap0"))
def _describe_exp_map0(X: trtp.TensorDesc, C: trtp.TensorDesc) -> trtp.TensorDesc:
    return X.like()


@trtp.register(_id("RootDistance"))
def _describe_root_distance(X: trtp.TensorDesc, C: trtp.TensorDesc) -> trtp.TensorDesc:
    return trtp.from_shape_expr(tuple(X.shape_expr)[:-1], X.dtype)


def _define_rows(name: str) -> None:
    @trtp.autotune(_id(name))
    def _tune_rows(
        X: trtp.TensorDesc, C: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]
    ) -> list[trtp.AutoTuneCombination]:
        return _tune(3)

    @trtp.aot_impl(_id(name))
    def _aot_rows(
        X: trtp.TensorDesc, C: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc], tactic: int
    ) -> AotResult:
        rows = _rows(X)
        return _aot(name, rows, (rows, X.shape_expr[X.ndim - 1]))

    @trtp.impl(_id(name))
    def _run_rows(X: trtp.Tensor, C: trtp.Tensor, outputs: tuple[trtp.Tensor], stream: int) -> None:
        rows, d = _sizes(X)
        _launch(name, stream, rows, [X, C], [rows, d], outputs[0])


_define_rows("ExpMap0")
_define_rows("RootDistance")


# --- HalfAperture: X, C and the attribute min_radius ----------------------------------------------


@trtp.register(_id("HalfAperture"))
def _describe_half_aperture(
    X: trtp.TensorDesc, C: trtp.TensorDesc, min_radius: float
) -> trtp.TensorDesc:
    return trtp.from_shape_expr(tuple(X.shape_expr)[:-1], X.dtype)


@trtp.autotune(_id("HalfAperture"))
def _tune_half_aperture(
    X: trtp.TensorDesc, C: trtp.TensorDesc, min_radius: float, outputs: tuple[trtp.TensorDesc]
) -> list[trtp.AutoTuneCombination]:
    return _tune(3)


@trtp.aot_impl(_id("HalfAperture"))
def _aot_half_aperture(
    X: trtp.TensorDesc,
    C: trtp.TensorDesc,
    min_radius: float,
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> AotResult:
    rows = _rows(X)
    return _aot("HalfAperture", rows, (rows, X.shape_expr[X.ndim - 1], _bits(min_radius)))


@trtp.impl(_id("HalfAperture"))
def _run_half_aperture(
    X: trtp.Tensor, C: trtp.Tensor, min_radius: float, outputs: tuple[trtp.Tensor], stream: int
) -> None:
    rows, d = _sizes(X)
    _launch("HalfAperture", stream, rows, [X, C], [rows, d, _bits(min_radius)], outputs[0])


# --- Traverse: X, the limit T (one, or one per row) and C -----------------------------------------


@trtp.register(_id("Traverse"))
def _describe_traverse(
    X: trtp.TensorDesc, T: trtp.TensorDesc, C: trtp.TensorDesc
) -> trtp.TensorDesc:
    return X.like()


@trtp.autotune(_id("Traverse"))
def _tune_traverse(
    X: trtp.TensorDesc, T: trtp.TensorDesc, C: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]
) -> list[trtp.AutoTuneCombination]:
    return _tune(4)


@trtp.aot_impl(_id("Traverse"))
def _aot_traverse(
    X: trtp.TensorDesc,
    T: trtp.TensorDesc,
    C: trtp.TensorDesc,
    outputs: tuple[trtp.TensorDesc],
    tactic: int,
) -> AotResult:
    rows = _rows(X)
    limits = T.shape_expr.numel() if T.ndim else 1
    return _aot("Traverse", rows, (rows, X.shape_expr[X.ndim - 1], limits))


@trtp.impl(_id("Traverse"))
def _run_traverse(
    X: trtp.Tensor, T: trtp.Tensor, C: trtp.Tensor, outputs: tuple[trtp.Tensor], stream: int
) -> None:
    rows, d = _sizes(X)
    _launch("Traverse", stream, rows, [X, T, C], [rows, d, T.numel()], outputs[0])


# --- pairs: X, Z and C ----------------------------------------------------------------------------


def _define_pairs(name: str) -> None:
    @trtp.register(_id(name))
    def _describe_pairs(
        X: trtp.TensorDesc, Z: trtp.TensorDesc, C: trtp.TensorDesc
    ) -> trtp.TensorDesc:
        return trtp.from_shape_expr((X.shape_expr[0], Z.shape_expr[0]), X.dtype)

    @trtp.autotune(_id(name))
    def _tune_pairs(
        X: trtp.TensorDesc, Z: trtp.TensorDesc, C: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]
    ) -> list[trtp.AutoTuneCombination]:
        return _tune(4)

    @trtp.aot_impl(_id(name))
    def _aot_pairs(
        X: trtp.TensorDesc,
        Z: trtp.TensorDesc,
        C: trtp.TensorDesc,
        outputs: tuple[trtp.TensorDesc],
        tactic: int,
    ) -> AotResult:
        n, m = X.shape_expr[0], Z.shape_expr[0]
        return _aot(name, n * m, (n, m, X.shape_expr[1]))

    @trtp.impl(_id(name))
    def _run_pairs(
        X: trtp.Tensor, Z: trtp.Tensor, C: trtp.Tensor, outputs: tuple[trtp.Tensor], stream: int
    ) -> None:
        n, m, d = X.shape[0], Z.shape[0], X.shape[1]
        _launch(name, stream, n * m, [X, Z, C], [n, m, d], outputs[0])


_define_pairs("LorentzDistance")
_define_pairs("ExteriorAngle")


# --- launching from Python ------------------------------------------------------------------------


def _sizes(x: trtp.Tensor) -> tuple[int, int]:
    d = x.shape[len(x.shape) - 1]
    return x.numel() // d, d


@cache
def _function(name: str) -> tuple[Any, ctypes.c_void_p]:
    """The driver, and a kernel of the PTX in the current CUDA context."""
    driver = ctypes.CDLL("libcuda.so.1")
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(driver.cuModuleLoadData(ctypes.byref(module), PTX.read_bytes() + b"\0"), "load", PTX)
    _check(
        driver.cuModuleGetFunction(ctypes.byref(function), module, KERNELS[name].encode()),
        "find",
        KERNELS[name],
    )
    return driver, function


def _launch(
    name: str, stream: int, warps: int, inputs: list[Any], scalars: list[int], output: Any
) -> None:
    if warps == 0:
        return
    driver, function = _function(name)
    values: list[Any] = [ctypes.c_void_p(tensor.data_ptr) for tensor in inputs]
    values += [ctypes.c_int32(scalar) for scalar in scalars]
    values += [ctypes.c_void_p(output.data_ptr)]
    arguments = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    blocks = (warps + _WARPS - 1) // _WARPS
    status = driver.cuLaunchKernel(
        function, blocks, 1, 1, _THREADS, 1, 1, 0, ctypes.c_void_p(stream), arguments, None
    )
    _check(status, "launch", KERNELS[name])


def _check(status: int, what: str, which: Any) -> None:
    if status:
        raise RuntimeError(f"CUDA cannot {what} {which} (status {status})")
