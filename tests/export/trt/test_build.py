"""The build script: with the real API of TensorRT-RTX, and with a double for what that lacks."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgesafe.export.trt.bundle import prepare, write_bundle
from edgesafe.export.trt.device import build, check
from edgesafe.export.trt.device.profiles import Range
from edgesafe.export.trt.device.reading import Bundle, BundleError, BundleUsageError
from edgesafe.export.trt.device.refusals import Platform
from edgesafe.export.trt.device.settings import Settings, parse
from edgesafe.export.trt.networks import read_any_package
from edgesafe.export.trt.settings import TrtOptions

fake_spec = importlib.util.spec_from_file_location(
    "fake_tensorrt", Path(__file__).with_name("fake_tensorrt.py")
)
assert fake_spec is not None and fake_spec.loader is not None
fake: Any = importlib.util.module_from_spec(fake_spec)
fake_spec.loader.exec_module(fake)


@pytest.fixture(scope="module")
def bundle(head_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    package = read_any_package(head_package)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgesafe.export.trt.bundle.nvrtc_library", lambda: None)
        write_bundle(folder, package, prepare(package, TrtOptions()), TrtOptions())
    return Bundle(folder)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    fake.Builder.last.clear()
    fake.Builder.refuse = False


def settings(bundle: Bundle, tmp_path: Path, *arguments: str) -> Settings:
    given = ["--out", str(tmp_path / "engines"), "--timing-cache", str(tmp_path / "t.cache")]
    return parse([*given, *arguments], bundle.folder, {})


def one_plan(bundle: Bundle, chosen: Settings, onnx: bytes = b"good") -> bytes:
    profile = {"batch": Range(1, 2, 4)}
    network = bundle.networks["image"]
    return build.build_plan(fake, fake.Logger(fake.Logger.WARNING), network, onnx, profile, chosen)


def test_the_real_api_builds_what_the_script_asks_for(bundle: Bundle, tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    # TensorRT-RTX measures nothing and so has no timing cache.
    chosen = dataclasses.replace(
        settings(bundle, tmp_path, "--workspace", "64", "--optimization-level", "1"),
        timing_cache=None,
    )

    def without_gpu(config: Any) -> None:
        assert not config.get_flag(trt.BuilderFlag.TF32)
        assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM89, 0)

    plan = build.build_plan(
        trt,
        trt.Logger(trt.Logger.ERROR),
        bundle.networks["image"],
        bundle.read("networks/image.onnx"),
        {"batch": Range(1, 2, 4)},
        chosen,
        adjust=without_gpu,
    )
    assert len(plan) > 1000


def test_parse_errors_name_the_node(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not parse(.|\n)*Strange 'bad_node': no importer"):
        one_plan(bundle, settings(bundle, tmp_path), b"bad")


def test_flags(bundle: Bundle, tmp_path: Path) -> None:
    assert one_plan(bundle, settings(bundle, tmp_path, "--workspace", "7")) == b"plan"
    network, config = fake.Builder.last["network"], fake.Builder.last["config"]
    assert network.flags == 1 << fake.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert config.flags == set() and config.pools == {fake.MemoryPoolType.WORKSPACE: 7 << 20}
    (profile,) = config.profiles
    assert profile.shapes == {"pixels": ((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))}

    flags = ["--version-compatible", "--hardware-compatible", "same", "--ops", "quick-deploy"]
    one_plan(bundle, settings(bundle, tmp_path, *flags))
    network, config = fake.Builder.last["network"], fake.Builder.last["config"]
    assert config.flags == {fake.BuilderFlag.VERSION_COMPATIBLE}
    level = fake.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert config.hardware_compatibility_level == level
    assert network.flags & 1 << fake.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS

    one_plan(bundle, settings(bundle, tmp_path, "--dla", "1", "--hardware-compatible", "ampere+"))
    config = fake.Builder.last["config"]
    assert (config.default_device_type, config.DLA_core) == (fake.DeviceType.DLA, 1)
    assert config.flags == {fake.BuilderFlag.GPU_FALLBACK}
    assert config.hardware_compatibility_level == fake.HardwareCompatibilityLevel.AMPERE_PLUS
    assert fake.Builder.last["parser"].flags == [fake.OnnxParserFlag.ADJUST_FOR_DLA]


def test_timing_cache(bundle: Bundle, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path)
    file = tmp_path / "t.cache"
    one_plan(bundle, chosen)
    assert file.read_bytes() == b"+measured"
    one_plan(bundle, chosen)
    assert file.read_bytes() == b"+measured+measured"
    # Of another GPU: not used, and replaced by what was measured here.
    file.write_bytes(b"of another GPU")
    one_plan(bundle, chosen)
    assert file.read_bytes() == b"+measured"


def test_a_refused_build_writes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    fake.Builder.refuse = True
    chosen = settings(bundle, tmp_path)
    profiles = build.choose_profiles(bundle, chosen)
    with pytest.raises(BundleError, match="does not build the network"):
        build.build_all(fake, bundle, chosen, profiles, lambda line: None)
    assert not list((tmp_path / "engines").iterdir()) and not (tmp_path / "t.cache").exists()


def test_engines_are_for_their_owner_and_say_how_they_were_made(
    bundle: Bundle, tmp_path: Path
) -> None:
    said: list[str] = []
    chosen = settings(bundle, tmp_path, "--profile", "batch=1,3,5")
    profiles = build.choose_profiles(bundle, chosen)
    engines = build.build_all(fake, bundle, chosen, profiles, said.append)
    assert sorted(engines) == ["image", "text"] and len(said) == 2
    for path in (tmp_path / "engines", engines["image"], tmp_path / "t.cache"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    made = json.loads((tmp_path / "engines/image.json").read_text())
    assert made["tensorrt"] == "10.3.0" and made["onnx"] == "networks/image.onnx"
    entry = bundle.description["files"]["networks/image.onnx"]
    assert made["onnx_sha256"] == entry["sha256"]
    assert made["profile"] == {"batch": [1, 3, 5]}


def test_a_place_that_cannot_be_written_is_refused_before_the_build(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != read_only and access(path, mode))
    for option in ("--out", "--timing-cache"):
        path = read_only / "new" / "there"
        told = (
            f"{option} {path}: {read_only} cannot be written to: name another place with {option}"
        )
        with pytest.raises(BundleUsageError, match=told):
            build.check_usage(bundle, settings(bundle, tmp_path, option, str(path)))
        # Nothing is written by it.
        build.check_usage(bundle, settings(bundle, tmp_path, option, str(path), "--dry-run"))


def test_what_the_system_refuses_to_write_says_what_to_do(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*arguments: str) -> None:
        chosen = settings(bundle, tmp_path, *arguments)
        build.build_all(fake, bundle, chosen, build.choose_profiles(bundle, chosen), lambda _: None)

    with pytest.raises(BundleUsageError, match="--out /proc/here: it cannot be written .*: name"):
        make("--out", "/proc/here")

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build.os, "open", full)
    with pytest.raises(BundleError, match="t.cache: the disk is full: make room, or name") as error:
        make()
    assert not isinstance(error.value, BundleUsageError)


def test_settings_are_checked_against_the_platform(bundle: Bundle, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, "--hardware-compatible", "same")
    profiles = build.choose_profiles(bundle, chosen)
    with pytest.raises(BundleError) as caught:
        build.check_settings(bundle, chosen, Platform("orin", (6, 2)), fake, profiles)
    assert "do not exist on JetPack" in str(caught.value)
    with pytest.raises(BundleError, match="came with TensorRT 10.9, this is 10.3.0"):
        build.check_settings(bundle, chosen, Platform(), fake, profiles)


class Memory:
    """The GPU's, kept on the host."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.freed = 0

    @contextmanager
    def buffers(self) -> Any:
        start = len(self.held)
        yield self
        self.freed += len(self.held) - start

    @contextmanager
    def stream(self) -> Any:
        yield 17

    def wait(self, stream: int) -> None:
        assert stream == 17

    def reserve(self, size: int) -> int:
        self.held[len(self.held) + 1] = bytes(size)
        return len(self.held)

    def upload(self, value: Any) -> int:
        assert value.flags.c_contiguous
        return self.reserve(value.nbytes)

    def download(self, address: int, value: Any) -> None:
        assert self.held[address].nbytes == value.nbytes
        value[...] = self.held[address]


def checked(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    *,
    factor: float,
    profile: dict[str, Range],
    broken: bool = False,
) -> tuple[bool, list[str]]:
    memory = Memory()
    with np.load(bundle.folder / "golden/image.npz") as archive:
        answers = {
            name: archive[f"out:{name}:0"] * np.float32(factor)
            for name in ("embedding", "root_distance")
        }
    monkeypatch.setattr(check, "Cuda", lambda: memory)
    fake.Runtime.engine = fake.Engine(answers, memory.held)
    fake.Runtime.engine.broken = broken
    said: list[str] = []
    passed = check.check_engine(fake, bundle, "image", b"plan", profile, said.append)
    assert memory.freed == len(memory.held)
    return passed, said


def test_an_engine_is_compared_with_the_golden_answers(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"batch": Range(1, 1, 8)}
    passed, said = checked(bundle, monkeypatch, factor=1.0, profile=usual)
    assert passed and all("off by 0.0e+00 at most over 1 inputs" in line for line in said)
    passed, said = checked(bundle, monkeypatch, factor=1.01, profile=usual)
    assert not passed and all(line.endswith("1e-03 allowed: FAILED") for line in said)
    passed, _ = checked(bundle, monkeypatch, factor=np.nan, profile=usual)
    assert not passed


def test_a_larger_smallest_batch_is_filled(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    passed, said = checked(bundle, monkeypatch, factor=1.0, profile={"batch": Range(4, 4, 8)})
    assert passed and "over 4 inputs" in said[0]


def test_engines_that_cannot_be_checked(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"batch": Range(1, 1, 8)}
    with pytest.raises(BundleError, match="cannot run the engine"):
        checked(bundle, monkeypatch, factor=1.0, profile=usual, broken=True)
    fake.Runtime.engine = None
    with pytest.raises(BundleError, match="does not load the engine of image"):
        check.check_engine(fake, bundle, "image", b"plan", usual, lambda line: None)


def test_inputs_outside_of_the_profile_are_left_out() -> None:
    golden = {"in:ids:0": np.zeros((1, 5)), "out:y:0": np.ones((1, 2))}
    inputs = {"ids": {"shape": ["batch", "tokens"]}}
    profile = {"batch": Range(1, 1, 2), "tokens": Range(6, 8, 9)}
    assert list(check.batches(golden, inputs, profile)) == []
    wider = {**profile, "tokens": Range(5, 8, 9)}
    assert len(list(check.batches(golden, inputs, wider))) == 1


def test_relative_error_is_of_rows() -> None:
    expected = np.array([[3.0, 4.0], [0.0, 2.0]])
    found = np.array([[3.0, 4.5], [0.0, 2.0]])
    assert check.relative_error(found, expected) == pytest.approx(0.1)


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgesafe.export.trt.device import cuda

    def missing(name: str) -> SimpleNamespace:
        raise OSError(name)

    monkeypatch.setattr(cuda.ctypes, "CDLL", missing)
    with pytest.raises(BundleError, match="no NVIDIA driver here"):
        cuda.Cuda()
