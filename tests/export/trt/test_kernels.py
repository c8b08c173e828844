"""The kernels of the head: their arithmetic on the host, their PTX, their library."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from edgesafe.calib.retrieval.traversal import traverse
from edgesafe.export.functions import OPERATORS
from edgesafe.export.trt import ptx
from edgesafe.export.trt.folders import PLUGIN
from edgesafe.runtime import lorentz
from edgesafe.runtime.errors import ExportError, MissingExtraError

HERE = Path(__file__).parent
CURVATURES = (0.1, 1.0, 10.0)
DIMENSIONS = (3, 33, 384, 768)
# As for the ONNX functions: relative for lengths, absolute for angles.
TOLERANCE = {"exp": 1.5e-5, "root": 1e-6, "aperture": 1e-6, "distance": 4e-5, "angle": 4e-6}


def run(*command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    library = tmp_path_factory.mktemp("host") / "libedgesafe_host.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    run(compiler, *flags, PLUGIN / "host.cpp", "-o", library)
    return ctypes.CDLL(str(library))


def call(
    host: ctypes.CDLL, name: str, arrays: list[Any], scalars: list[float], sizes: list[int],
    shape: tuple[int, ...],
) -> np.ndarray:  # fmt: skip
    """Calls a function of the host build; every array is float32."""
    result = np.full(shape, np.nan, np.float32)
    pointers = [np.ascontiguousarray(a, np.float32) for a in arrays]
    getattr(host, f"edgesafe_host_{name}")(
        *(p.ctypes.data_as(ctypes.c_void_p) for p in pointers),
        *(ctypes.c_float(s) for s in scalars),
        *(ctypes.c_int(s) for s in sizes),
        result.ctypes.data_as(ctypes.c_void_p),
    )
    return result


def directions(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    v = rng.standard_normal((count, d))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def points(rng: np.random.Generator, d: int, count: int = 48) -> np.ndarray:
    """Norms 1e-6 to 20."""
    norms = 10 ** rng.uniform(-6, np.log10(20), (count, 1))
    return (directions(rng, count, d) * norms).astype(np.float32)


def partners(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """On the ray, a little aside, 1e-3 away, behind the root, and the points themselves."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    aside = directions(rng, len(x), x.shape[1]) * length
    steps = 10 ** rng.uniform(-5, 0, (len(x), 1))
    near = directions(rng, len(x), x.shape[1]) * 1e-3
    found = [x * 0.7, x * 1.01, x + steps * aside, x + near, x + 1e-3 * aside, -x, x]
    return np.concatenate([rows[:12] for rows in found]).astype(np.float32)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_the_host_build_computes_the_geometry(host: ctypes.CDLL, c: float, d: int) -> None:
    rng = np.random.default_rng(d)
    x = points(rng, d)
    n, wide, exact = len(x), x.astype(np.float64), float(np.float32(c))
    mapped = call(host, "exp_map0", [x], [c], [n, d], (n, d))
    truth = lorentz.exp_map0(wide, exact)
    error = np.linalg.norm(mapped - truth, axis=1) / np.linalg.norm(truth, axis=1)
    assert error.max() <= TOLERANCE["exp"]
    radius = call(host, "root_distance", [x], [c], [n, d], (n,))
    np.testing.assert_allclose(radius, lorentz.root_distance(wide, exact), rtol=TOLERANCE["root"])
    cone = call(host, "half_aperture", [x], [c, 0.1], [n, d], (n,))
    expected = lorentz.half_aperture(wide, exact, float(np.float32(0.1)))
    np.testing.assert_allclose(cone, expected, rtol=TOLERANCE["aperture"])

    z = partners(rng, x)
    m, other = len(z), z.astype(np.float64)
    apart = call(host, "lorentz_distance", [x, z], [c], [n, m, d], (n, m))
    truth = lorentz.distance(wide[:, None], other[None], exact)
    np.testing.assert_allclose(apart, truth, rtol=TOLERANCE["distance"])
    assert (apart[truth == 0] == 0).all() and (truth == 0).any()
    angle = call(host, "exterior_angle", [x, z], [c], [n, m, d], (n, m))
    truth = lorentz.exterior_angle(wide[:, None], other[None], exact)
    np.testing.assert_allclose(angle, truth, rtol=0, atol=TOLERANCE["angle"])


def test_close_pairs_against_fifty_digits(host: ctypes.CDLL) -> None:
    """A separation of 1e-3, where the usual form is wrong by half of the distance."""
    rng = np.random.default_rng(5)
    for c in CURVATURES:
        x = (directions(rng, 4, 24) * 0.4).astype(np.float32)
        z = (x + directions(rng, 4, 24) * 1e-3).astype(np.float32)
        found = call(host, "lorentz_distance", [x, z], [c], [4, 4, 24], (4, 4))
        angle = call(host, "exterior_angle", [x, z], [c], [4, 4, 24], (4, 4))
        with mpmath.workdps(50):
            k = mpmath.mpf(float(np.float32(c)))
            for i in range(4):
                p, q = ([mpmath.mpf(float(v)) for v in rows[i]] for rows in (x, z))
                pt, qt = (mpmath.sqrt(1 / k + sum(v * v for v in rows)) for rows in (p, q))
                inner = sum(a * b for a, b in zip(p, q, strict=True)) - pt * qt
                truth = mpmath.acosh(-k * inner) / mpmath.sqrt(k)
                assert abs(float(found[i, i] / truth - 1)) < 1e-5
                length = mpmath.sqrt(sum(v * v for v in p))
                cosine = (qt + k * inner * pt) / (length * mpmath.sqrt((k * inner) ** 2 - 1))
                assert abs(float(angle[i, i] - mpmath.acos(cosine))) < 1e-6


def test_traversal_stops_at_the_limit(host: ctypes.CDLL) -> None:
    rng = np.random.default_rng(6)
    x = points(rng, 64)
    n, wide = len(x), x.astype(np.float64)
    for c in CURVATURES:
        exact = float(np.float32(c))
        each = rng.uniform(0.05, 1.0, (n, 1)).astype(np.float32)
        for limits in (np.float32([0.05]), np.float32([0.3]), np.float32([1.0]), each):
            sizes = [n, 64, limits.size]
            moved = call(host, "traverse", [x, limits], [c], sizes, (n, 64)).astype(np.float64)
            taus = np.broadcast_to(limits.ravel(), n)
            truth = [traverse(r, float(tau), exact)[0] for r, tau in zip(wide, taus, strict=True)]
            np.testing.assert_allclose(moved, truth, rtol=2e-6)
            inside = lorentz.root_distance(wide, exact) < limits.ravel()
            assert inside.any() and not inside.all()
            np.testing.assert_array_equal(moved[inside], x[inside])


def test_the_ends_of_the_range(host: ctypes.CDLL) -> None:
    zero = np.zeros((1, 8), np.float32)
    some = np.full((1, 8), 0.1, np.float32)
    huge = np.full((1, 8), 1e5, np.float32)
    assert (call(host, "exp_map0", [zero], [1.0], [1, 8], (1, 8)) == 0).all()
    assert call(host, "half_aperture", [zero], [1.0, 0.1], [1, 8], (1,))[0] == np.float32(np.pi / 2)
    assert np.isfinite(call(host, "exp_map0", [huge], [1.0], [1, 8], (1, 8))).all()
    root = call(host, "exterior_angle", [zero, some], [1.0], [1, 1, 8], (1, 1))
    # An apex at the root entails everything: at most its aperture of pi/2.
    assert root[0, 0] <= np.float32(np.pi / 2)
    back = call(host, "exterior_angle", [some, zero], [1.0], [1, 1, 8], (1, 1))
    assert back[0, 0] == pytest.approx(np.pi, abs=1e-6)
    bad = np.full((1, 8), np.nan, np.float32)
    for name in ("lorentz_distance", "exterior_angle"):
        assert np.isnan(call(host, name, [bad, some], [1.0], [1, 1, 8], (1, 1))).all(), name


# --- PTX ------------------------------------------------------------------------------------------


def test_ptx_is_what_jetpack_6_reads() -> None:
    if ptx.nvrtc_library() is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12==12.6.*")
    found = ptx.compile_ptx()
    assert ptx.ptx_isa(found) <= ptx.MAXIMUM_ISA == (8, 5)
    source = (PLUGIN / "kernels.cuh").read_text()
    assert ptx.kernel_names(found) == sorted(re.findall(r"__global__ void (\w+)\(", source))
    quick = (PLUGIN / "quick_deploy.py").read_text()
    assert set(OPERATORS) <= set(re.findall(r'"([A-Z]\w+)": "edgesafe_', quick))
    assert set(ptx.kernel_names(found)) == set(re.findall(r'"(edgesafe_[a-z_0]+)"', quick))
    with pytest.raises(ExportError, match="NVRTC cannot compile the kernels for compute_87"):
        ptx.compile_ptx(b"nonsense", architecture="compute_87")


def test_ptx_that_is_too_new_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ptx.ptx_isa(b"//\n.version 8.8\n.target sm_80") == (8, 8)
    with pytest.raises(ExportError, match="name no version"):
        ptx.ptx_isa(b"ELF")
    if ptx.nvrtc_library() is not None:
        monkeypatch.setattr(ptx, "MAXIMUM_ISA", (8, 0))
        with pytest.raises(ExportError, match=r"writes PTX 8\.\d, which JetPack 6 cannot read"):
            ptx.compile_ptx(b'extern "C" __global__ void f() {}')


def test_without_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx, "nvrtc_library", lambda: None)
    with pytest.raises(MissingExtraError, match="nvidia-cuda-nvrtc-cu12 is not installed"):
        ptx.compile_ptx()


# --- the library ----------------------------------------------------------------------------------


def headers() -> Path:
    """Folder of NvInfer.h: of TensorRT, or of a package that vendors it for a test build."""
    places = [Path(os.environ.get("TENSORRT_ROOT", "/none")) / "include", Path("/usr/include")]
    spec = find_spec("kernel_lens")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "include" / "tensorrt")
    for place in places:
        if (place / "NvInfer.h").is_file():
            return place
    pytest.skip("the TensorRT headers are not installed (pip install kernel-lens has them)")


def nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("nvcc is not installed")
    return found


def cuda_headers() -> list[str]:
    lines = subprocess.run([nvcc(), "--dryrun", "x.cu"], capture_output=True, text=True).stderr
    return re.findall(r'INCLUDES="(-I[^"]+)"', lines)


@pytest.mark.slow
@pytest.mark.parametrize("sm", [87, 89, 90, 110, 120])
def test_nvcc_compiles_for(sm: int, tmp_path: Path) -> None:
    known = run(nvcc(), "--list-gpu-arch").stdout
    if f"compute_{sm}" not in known:
        pytest.skip(f"this nvcc does not know sm_{sm}")
    flags = ["-std=c++17", f"-arch=sm_{sm}", "-Werror=all-warnings", "-cubin"]
    cubin = tmp_path / "head.cubin"
    run(nvcc(), *flags, f"-isystem={headers()}", PLUGIN / "plugin.cu", "-o", cubin)
    assert cubin.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.slow
def test_the_library_keeps_the_contract_of_a_plugin(tmp_path: Path) -> None:
    """Built by its CMake project and driven by a program that knows the interfaces only."""
    cmake, compiler = shutil.which("cmake"), shutil.which("g++")
    if cmake is None or compiler is None:
        pytest.skip("cmake and g++ are needed")
    nvcc()
    options = [f"-DTENSORRT_INCLUDE_DIR={headers()}", "-DCMAKE_CUDA_ARCHITECTURES=87-real"]
    run(cmake, "-S", PLUGIN, "-B", tmp_path, *options)
    run(cmake, "--build", tmp_path)
    library = tmp_path / "libedgesafe_head.so"
    missing = run("nm", "-D", "--undefined-only", library).stdout
    assert not re.search(r"nvinfer|nvonnx|TensorRT|cuda[A-Z]", missing), missing
    visible = re.findall(r" T (\w+)", run("nm", "-D", "--defined-only", library).stdout)
    assert sorted(visible) == ["getCreators", "setLoggerFinder"]

    harness = tmp_path / "harness"
    system = [f"-isystem{headers()}", *cuda_headers()]
    run(compiler, "-std=c++17", "-w", *system, HERE / "plugin_harness.cpp", "-ldl", "-o", harness)
    driven = run(harness, library).stdout.split()
    names = ["ExpMap0", "RootDistance", "HalfAperture", "Traverse", "LorentzDistance"]
    names.append("ExteriorAngle")
    assert driven == [f"{ns}::{name}" for ns in ("edgesafe", "ai.edgesafe") for name in names]


# --- the Python plugin ----------------------------------------------------------------------------


@pytest.mark.slow
def test_tensorrt_accepts_the_python_plugin(tmp_path: Path) -> None:
    """The validation of TensorRT's own decorators, with its library doubled."""
    if find_spec("tensorrt_bindings") is None or shutil.which("g++") is None:
        pytest.skip("pip install tensorrt-cu12-bindings, whose decorators validate the plugin")
    symbols = (
        "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL "
        "createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL "
        "getBuilderPluginRegistry getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins"
    ).split()
    source = tmp_path / "nothing.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in symbols))
    spec = find_spec("tensorrt_bindings")
    assert spec is not None and spec.origin is not None
    needed = run("readelf", "-d", Path(spec.origin).parent / "tensorrt.so").stdout
    for name in re.findall(r"\[(libnv\w+\.so\.\d+)\]", needed):
        run("gcc", "-shared", "-fPIC", source, "-o", tmp_path / name)
    shutil.copy(PLUGIN / "quick_deploy.py", tmp_path)
    (tmp_path / "edgesafe_head.ptx").write_bytes(b".version 8.5\n")
    program = HERE / "quick_deploy_program.py"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = run(sys.executable, program, tmp_path, env=environment)
    assert done.stdout.split()[-1] == "accepted"
