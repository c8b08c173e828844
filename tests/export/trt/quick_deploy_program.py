"""Imports the Python plugin under TensorRT's real bindings and calls what the builder would.

Its first argument is the folder with the plugin; the libraries of TensorRT are empty doubles, so
the registry and the expressions of shapes are doubled here.
"""

# ruff: noqa: E402
import sys
from typing import Any

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt
MADE: dict[tuple[str, str], Any] = {}


class Registry:
    def register_creator(self, creator: Any, namespace: str) -> bool:
        MADE[namespace, creator.name] = creator
        return True

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        assert version == "1"
        return MADE[namespace, name]


class Number:
    """A size, in place of TensorRT's expression of one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def is_constant(self) -> bool:
        return True

    def get_constant_value(self) -> int:
        return self.value


trt.get_plugin_registry = Registry
trt.IDimensionExpr = Number

import tensorrt_bindings.plugin as trtp

sys.modules["tensorrt.plugin"] = trtp
sys.path.insert(0, sys.argv[1])
import quick_deploy
from tensorrt_bindings.plugin import _tensor
from tensorrt_bindings.plugin._lib import QDP_REGISTRY

NAMES = ["ExpMap0", "RootDistance", "HalfAperture", "Traverse", "LorentzDistance", "ExteriorAngle"]
assert sorted(MADE) == sorted(("edgesafe", name) for name in NAMES), MADE
assert sorted(QDP_REGISTRY) == sorted(f"edgesafe::{name}" for name in NAMES)
assert set(quick_deploy.KERNELS) == set(NAMES)


class Numbers:
    """Does at once what a builder does when it knows the sizes."""

    def constant(self, value: int) -> Number:
        return Number(value)

    def operation(self, operation: Any, first: Number, second: Number) -> Number:
        a, b = first.value, second.value
        kinds = trt.DimensionOperation
        if operation == kinds.SUM:
            return Number(a + b)
        if operation == kinds.PROD:
            return Number(a * b)
        if operation == kinds.FLOOR_DIV:
            return Number(a // b)
        assert operation == kinds.CEIL_DIV, operation
        return Number(-(-a // b))


def tensor(*sizes: int) -> Any:
    return trtp.from_shape_expr(tuple(map(trtp.ShapeExpr, sizes)), trt.float32)


def sizes_of(described: Any) -> list[int]:
    return [size._expr.value for size in described.shape_expr]


_tensor.SymIntExpr._exprBuilder = Numbers()
C = tensor()
for name in NAMES:
    plugin = QDP_REGISTRY[f"edgesafe::{name}"]
    pairs = name in ("LorentzDistance", "ExteriorAngle")
    X, Z = tensor(5, 24), tensor(7, 24)
    inputs = [X, Z, C] if pairs else [X, tensor(), C] if name == "Traverse" else [X, C]
    attributes = [0.25] if name == "HalfAperture" else []
    output = plugin.register_func(*inputs, *attributes)
    rows = [5, 7] if pairs else [5, 24] if name in ("ExpMap0", "Traverse") else [5]
    assert sizes_of(output) == rows, (name, sizes_of(output))
    assert output.dtype == trt.float32
    (tuned,) = plugin.autotune_func(*inputs, *attributes, (output,))
    for combination in tuned._get_combinations():
        assert combination.types == [trt.float32] * (len(inputs) + 1)
        assert combination.layouts == [trt.TensorFormat.LINEAR] * (len(inputs) + 1)
    kernel, ptx, launch, extra = plugin.aot_impl_func(*inputs, *attributes, (output,), 0)
    assert kernel == quick_deploy.KERNELS[name] and ptx.startswith(b".version")
    warps = 35 if pairs else 5
    assert launch.grid_x._expr.value == -(-warps // 4), launch.grid_x._expr.value
    assert launch.block_x._expr.value == 128
    scalars = [value._expr.value for value in extra]
    assert all(isinstance(value, trtp.SymInt32) for value in extra)
    wanted = [5, 7, 24] if pairs else [5, 24]
    # 0x3e800000 is 0.25; a traversal has one limit here.
    wanted += [0x3E800000] if attributes else [1] if name == "Traverse" else []
    assert scalars == wanted, (name, scalars)
per_row = QDP_REGISTRY["edgesafe::Traverse"].aot_impl_func(
    tensor(5, 24), tensor(5, 1), C, (tensor(5, 24),), 0
)
assert [value._expr.value for value in per_row[3]] == [5, 24, 5]
print("accepted")
