"""The operators of the domain ``ai.edgesafe``, version 1, as bodies of standard ONNX operators.

A model that calls one of them carries its body, so every conforming runtime executes it: ONNX
Runtime and TensorRT inline the body, no plugin is needed. All tensors are float32; ``C`` is the
curvature c > 0, a tensor of no dimension; points are space parts (see ``edgesafe.runtime.lorentz``
for the formulas and why they do not cancel).

============================== ===========================================================
``ExpMap0(X, C)``              tangent vectors at the root (..., d) -> points (..., d)
``RootDistance(X, C)``         points (..., d) -> distance from the root (...)
``Traverse(X, T, C)``          points (..., d), distance tau from the root, of no dimension or
                               (..., 1) -> points no farther than tau, on the geodesics to the root
``HalfAperture(X, C)``         cone apexes (..., d) -> half aperture in radians (...);
                               attribute ``min_radius``, default 0.1 (write it out: onnx's own
                               reference evaluator does not apply defaults)
``LorentzDistance(X, Z, C)``   points (N, d), (M, d) -> distances (N, M)
``ExteriorAngle(X, Z, C)``     apexes (N, d), points (M, d) -> angles at the apexes (N, M)
============================== ===========================================================

Three choices are made for the device:

* No ``MatMul``: on a GPU it may run in TF32, which is wrong by more than the distances measured.
* No ``Atan2`` (not an ONNX operator) and no ``Acosh``/``Acos``, which lose half of the digits.
  ``ExpMap0`` uses a series up to sqrt(c)|u| = 1, so that the quality of a runtime's ``Sinh`` does
  not matter for any usual embedding.
* Inner names start with the operator's name: TensorRT up to 10.7 confuses an inner name with an
  equal name of the outer graph.
"""

from __future__ import annotations

import onnx
import onnx.parser
from onnx import FunctionProto, ModelProto

__all__ = ["DOMAIN", "DOMAIN_VERSION", "OPERATORS", "attach_functions", "function"]

DOMAIN = "ai.edgesafe"
DOMAIN_VERSION = 1
# ReduceL2 and ReduceSumSquare take their axes as an input since 18.
MINIMUM_OPSET = 18

# The series is sinh(r)/r to r^8; its error at r = 1 is 2.5e-8. 80.7 is where sinh(r) nears the
# largest float32, as in edgesafe.runtime.lorentz.exp_map0.
_EXP_MAP0 = """
    last = Constant<value_ints = [-1]>()
    one = Constant<value_float = 1.0>()
    limit = Constant<value_float = 80.7>()
    s = Sqrt(C)
    n = ReduceL2<keepdims = 1>(X, last)
    r = Mul(s, n)
    wide = Max(r, one)
    bounded = Min(wide, limit)
    sinh = Sinh(bounded)
    far = Div(sinh, wide)
    narrow = Min(r, one)
    r2 = Mul(narrow, narrow)
    k8 = Constant<value_float = 72.0>()
    k6 = Constant<value_float = 42.0>()
    k4 = Constant<value_float = 20.0>()
    k2 = Constant<value_float = 6.0>()
    q8 = Div(r2, k8)
    t8 = Add(one, q8)
    m6 = Mul(r2, t8)
    q6 = Div(m6, k6)
    t6 = Add(one, q6)
    m4 = Mul(r2, t6)
    q4 = Div(m4, k4)
    t4 = Add(one, q4)
    m2 = Mul(r2, t4)
    q2 = Div(m2, k2)
    near = Add(one, q2)
    beyond = Greater(r, one)
    factor = Where(beyond, far, near)
    Y = Mul(factor, X)
"""

_ROOT_DISTANCE = """
    last = Constant<value_ints = [-1]>()
    s = Sqrt(C)
    n = ReduceL2<keepdims = 0>(X, last)
    r = Mul(s, n)
    a = Asinh(r)
    Y = Div(a, s)
"""

# The point at distance tau from the root along a ray has the length sinh(sqrt(c) tau) / sqrt(c). A
# point that is nearer stays: its quotient is cut to 1.
_TRAVERSE = """
    last = Constant<value_ints = [-1]>()
    one = Constant<value_float = 1.0>()
    tiny = Constant<value_float = 1e-30>()
    limit = Constant<value_float = 80.7>()
    s = Sqrt(C)
    n = ReduceL2<keepdims = 1>(X, last)
    r = Mul(s, n)
    safe = Max(r, tiny)
    reach0 = Mul(s, T)
    reach = Min(reach0, limit)
    target = Sinh(reach)
    quotient = Div(target, safe)
    factor = Min(quotient, one)
    Y = Mul(factor, X)
"""

# 1e-30 keeps an apex at the root from 0/0; its quotient is cut to 1 like every other above 1.
_HALF_APERTURE = """
    last = Constant<value_ints = [-1]>()
    one = Constant<value_float = 1.0>()
    tiny = Constant<value_float = 1e-30>()
    K = Constant<value_float: float = @min_radius>()
    K2 = Add(K, K)
    s = Sqrt(C)
    n = ReduceL2<keepdims = 0>(X, last)
    r = Mul(s, n)
    safe = Max(r, tiny)
    quotient = Div(K2, safe)
    sine = Min(quotient, one)
    Y = Asin(sine)
"""

# Common to the two operators on pairs: points as (N, 1, d) and (1, M, d), time parts as (N, 1)
# and (1, M).
_PAIRS = """
    last = Constant<value_ints = [-1]>()
    first = Constant<value_ints = [0]>()
    second = Constant<value_ints = [1]>()
    zero = Constant<value_float = 0.0>()
    one = Constant<value_float = 1.0>()
    tiny = Constant<value_float = 1e-30>()
    X3 = Unsqueeze(X, second)
    Z3 = Unsqueeze(Z, first)
    s = Sqrt(C)
    ic = Reciprocal(C)
    xx = ReduceSumSquare<keepdims = 1>(X, last)
    zz = ReduceSumSquare<keepdims = 1>(Z, last)
    xtt = Add(xx, ic)
    ztt = Add(zz, ic)
    xt = Sqrt(xtt)
    ztc = Sqrt(ztt)
    zt = Transpose<perm = [1, 0]>(ztc)
"""

_LORENTZ_DISTANCE = (
    _PAIRS
    + """
    eps = Constant<value_float = 1.1920929e-07>()
    half = Constant<value_float = 0.5>()
    m = Sub(X3, Z3)
    sum = Add(X3, Z3)
    sum_n0 = ReduceL2<keepdims = 1>(sum, last)
    sum_n = Max(sum_n0, tiny)
    axis = Div(sum, sum_n)
    m_axis = Mul(m, axis)
    mu3 = ReduceSum<keepdims = 1>(m_axis, last)
    along = Mul(mu3, axis)
    across = Sub(m, along)
    rho2 = ReduceSumSquare<keepdims = 0>(across, last)
    mu = Squeeze(mu3, last)
    tau = Add(xt, zt)
    k = Div(mu, tau)
    less = Sub(one, k)
    more = Add(one, k)
    fall0 = Mul(less, more)
    fall = Max(fall0, eps)
    k_twice = Add(k, k)
    slant = Div(k_twice, s)
    slant2 = Mul(slant, slant)
    q0 = Add(rho2, slant2)
    q = Div(q0, fall)
    chord = Sqrt(q)
    s_half = Mul(s, half)
    arg = Mul(s_half, chord)
    u = Asinh(arg)
    u_twice = Add(u, u)
    Y = Div(u_twice, s)
"""
)

# atan2(T, R) for T >= 0 is 2 atan(T / (H + R)) with H = hypot(T, R), taken with |R| and reflected.
_EXTERIOR_ANGLE = (
    _PAIRS
    + """
    n = Sqrt(xx)
    n_safe = Max(n, tiny)
    unit = Div(X, n_safe)
    U = Unsqueeze(unit, second)
    step = Sub(Z3, X3)
    step_n = ReduceL2<keepdims = 1>(step, last)
    z_n3 = ReduceL2<keepdims = 1>(Z3, last)
    close = Less(step_n, z_n3)
    base = Where(close, step, Z3)
    base_U = Mul(base, U)
    along3 = ReduceSum<keepdims = 1>(base_U, last)
    part = Mul(along3, U)
    rest = Sub(base, part)
    T = ReduceL2<keepdims = 0>(rest, last)
    along = Squeeze(along3, last)
    close2 = Squeeze(close, last)
    along_on = Add(n, along)
    along_off = Sub(along, n)
    radial = Where(close2, along_on, along)
    excess = Where(close2, along, along_off)
    ahead = Greater(radial, zero)
    xt_r = Mul(xt, radial)
    n_zt = Mul(n, zt)
    sums0 = Add(xt_r, n_zt)
    sums = Where(ahead, sums0, one)
    r_n = Add(radial, n)
    r_n_s = Div(r_n, sums)
    gain_c = Mul(excess, r_n_s)
    gain = Div(gain_c, C)
    nT = Mul(n, T)
    nT_s = Div(nT, sums)
    loss = Mul(nT, nT_s)
    R_ahead = Sub(gain, loss)
    R_behind = Sub(xt_r, n_zt)
    R_raw = Where(ahead, R_ahead, R_behind)
    R = Mul(s, R_raw)
    T2 = Mul(T, T)
    R2 = Mul(R, R)
    H2 = Add(T2, R2)
    H = Sqrt(H2)
    R_abs = Abs(R)
    den0 = Add(H, R_abs)
    den = Max(den0, tiny)
    tangent = Div(T, den)
    at = Atan(tangent)
    folded = Add(at, at)
    pi = Constant<value_float = 3.1415927>()
    reflected = Sub(pi, folded)
    back = Less(R, zero)
    Y = Where(back, reflected, folded)
"""
)

# Name -> (attributes, inputs, body).
_BODIES = {
    "ExpMap0": ("", "X, C", _EXP_MAP0),
    "RootDistance": ("", "X, C", _ROOT_DISTANCE),
    "Traverse": ("", "X, T, C", _TRAVERSE),
    "HalfAperture": ("<min_radius: float = 0.1>", "X, C", _HALF_APERTURE),
    "LorentzDistance": ("", "X, Z, C", _LORENTZ_DISTANCE),
    "ExteriorAngle": ("", "X, Z, C", _EXTERIOR_ANGLE),
}

OPERATORS = tuple(_BODIES)
"""Names of the operators of the domain."""


def function(name: str, opset: int = MINIMUM_OPSET) -> FunctionProto:
    """Makes the body of one operator.

    Args:
        name: One of :data:`OPERATORS`.
        opset: Version of the standard operators that the model imports; at least 18.

    Raises:
        ValueError: ``opset`` is too old for the bodies.
        KeyError: There is no such operator.
    """
    if opset < MINIMUM_OPSET:
        raise ValueError(f"the operators of {DOMAIN} need opset {MINIMUM_OPSET}, not {opset}")
    attributes, inputs, body = _BODIES[name]
    proto = onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["": {opset}]>\n'
        f"{name} {attributes} ({inputs}) => (Y) {{{body}}}"
    )
    _prefix(proto)
    return proto


def attach_functions(model: ModelProto) -> None:
    """Puts into a model the bodies of those operators of the domain that its graph calls.

    Do this last: tools that rewrite a graph (version converters, optimisers, quantisers) inline
    functions or refuse models that have them.

    Raises:
        ValueError: The graph calls an operator that the domain does not have, or the model's
            opset is too old.
    """
    called = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    unknown = sorted(called - set(OPERATORS))
    if unknown:
        raise ValueError(f"{DOMAIN} has no operator {unknown[0]!r}")
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    del model.functions[:]
    model.functions.extend(function(name, opset) for name in OPERATORS if name in called)
    if called and not any(o.domain == DOMAIN for o in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, DOMAIN_VERSION))


def _prefix(proto: FunctionProto) -> None:
    def rename(names: list[str]) -> list[str]:
        return [f"{proto.name}__{name}" if name else name for name in names]

    for index, node in enumerate(proto.node):
        node.name = f"{proto.name}__{index}_{node.op_type}"
        node.input[:] = rename(node.input)
        node.output[:] = rename(node.output)
    proto.input[:] = rename(proto.input)
    proto.output[:] = rename(proto.output)
