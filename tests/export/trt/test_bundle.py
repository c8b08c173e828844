"""The device bundle, written and used as a device uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgesafe.export.cli import export
from edgesafe.export.trt import options
from edgesafe.export.trt.device.profiles import Range
from edgesafe.export.trt.device.reading import Bundle, BundleError
from edgesafe.export.trt.golden import TOLERANCES
from edgesafe.export.trt.ptx import nvrtc_library
from edgesafe.runtime.errors import ExportError, UsageError
from edgesafe.runtime.files import sha256_hex
from edgesafe.runtime.package import read_package


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(export, [str(a) for a in arguments])


def build(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The build script as a device runs it: without edgesafe."""
    command = [sys.executable, "-I", str(bundle / "build_engine.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "why_not_here", lambda: "this is a test")


@pytest.fixture(scope="module")
def bundle(head_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "device"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "why_not_here", lambda: "this is a test")
        done = run(head_package, "--out", out, "--trt", "--profile", "batch=1,2,4")
    assert done.exit_code == 0, done.output
    assert "no engine was built: this is a test" in done.stdout
    assert "image, text" in done.stdout
    return out


def test_every_file_is_listed_with_its_digest(bundle: Path) -> None:
    description = json.loads((bundle / "bundle.json").read_text())
    there = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert {name for name in there if "__pycache__" not in name} == {
        *description["files"],
        "bundle.json",
    }
    for name, entry in description["files"].items():
        data = (bundle / name).read_bytes()
        assert (sha256_hex(data), len(data)) == (entry["sha256"], entry["size"])
    wanted = {
        "networks/image.onnx",
        "networks/image.plugin.onnx",
        "networks/text.onnx",
        "plugin/CMakeLists.txt",
        "plugin/hyperbolic.cuh",
        "plugin/quick_deploy.py",
        "golden/image.npz",
        "package/manifest.json",
    }
    assert wanted <= there and "networks/text.plugin.onnx" not in there
    if nvrtc_library() is not None:
        assert "plugin/edgesafe_head.ptx" in there
    assert description["networks"]["text"]["inputs"]["input_ids"]["shape"] == ["batch", "tokens"]
    assert json.loads((bundle / "profiles.json").read_text())["image"] == {"batch": [1, 2, 4]}


def test_the_package_travels_whole(bundle: Path, head_package: Path) -> None:
    assert read_package(bundle / "package").manifest == read_package(head_package).manifest


def test_golden_answers_are_those_of_the_graph(bundle: Path, head_package: Path) -> None:
    opened = Bundle(bundle)
    with np.load(bundle / "golden/image.npz") as archive:
        pixels, embedding = archive["in:pixels:0"], archive["out:embedding:0"]
        radius = archive["out:root_distance:0"]
    golden = json.loads((head_package / "golden.json").read_text())["image"][0]
    assert pixels.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(embedding[0], golden["embedding"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(radius[0], golden["root_distance"], rtol=1e-5)
    tolerances = opened.networks["image"]["golden"]["tolerances"]
    assert tolerances == dict.fromkeys(("embedding", "root_distance"), TOLERANCES["fp32"])
    assert TOLERANCES["fp32"] < TOLERANCES["fp16"] < TOLERANCES["int8"]


def test_a_dry_run_needs_nothing_but_python(bundle: Path) -> None:
    done = build(bundle, "--dry-run", "--ops", "plugin", "--plugin-library", "x.so")
    assert done.returncode == 0, done.stderr
    text, _, last = done.stdout.rpartition("}\n")
    plan = json.loads(text + "}")
    assert plan["networks"]["image"]["onnx"] == "networks/image.plugin.onnx"
    # It has no head, so it has one graph.
    assert plan["networks"]["text"]["onnx"] == "networks/text.onnx"
    assert plan["networks"]["image"]["shapes"]["pixels"]["opt"] == [2, 3, 16, 16]
    assert plan["settings"]["strongly_typed"] is True and plan["settings"]["tf32"] is False
    assert last.endswith("files verified; nothing was built (--dry-run)\n")
    assert not (bundle / "engines").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--network", "audio"], "has no network 'audio', it has image, text"),
        (["--profile", "tokens=1,2,99"], "text.tokens is at most 12"),
        (["--profile", "nonsense"], "is not a profile"),
        (["--dla", "0"], "image computes in fp32, DLA in fp16 and int8 only"),
        (["--ops", "plugin"], "needs --plugin-library"),
    ],
)
def test_what_the_build_script_refuses(bundle: Path, arguments: list[str], complaint: str) -> None:
    done = build(bundle, "--dry-run", *arguments)
    assert done.returncode == 3
    assert complaint in done.stderr and "Traceback" not in done.stderr


def test_without_tensorrt_the_build_script_says_what_to_do(bundle: Path) -> None:
    pytest.raises(ImportError, __import__, "tensorrt")
    done = build(bundle)
    assert done.returncode == 3
    assert "tensorrt cannot be imported" in done.stderr and "--system-site-packages" in done.stderr


def test_a_changed_file_is_not_used(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "networks/image.onnx").write_bytes(b"something else")
    done = build(copy, "--dry-run")
    assert done.returncode == 3 and "image.onnx is not what was exported" in done.stderr
    (copy / "networks/image.onnx").unlink()
    assert "cannot be read" in build(copy, "--dry-run").stderr
    with pytest.raises(BundleError, match="lists no file 'x'"):
        Bundle(copy).read("x")
    (copy / "bundle.json").write_text('{"format": "edgesafe.trt-bundle/9"}')
    assert "'edgesafe.trt-bundle/9', not" in build(copy, "--dry-run").stderr
    (copy / "bundle.json").unlink()
    assert "holds no readable bundle.json" in build(copy, "--dry-run").stderr


def test_options_become_the_defaults_of_the_script(head_package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "old.cache"
    cache.write_bytes(b"times")
    out = tmp_path / "b"
    given = ["--workspace", 512, "--version-compatible", "--timing-cache", cache, "--json"]
    done = run(head_package, "--out", out, "--trt", *given)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "bundle": str(out),
        "networks": ["image", "text"],
        "not_built": "this is a test",
    }
    assert (out / "timing.cache").read_bytes() == b"times"
    plan = build(out, "--dry-run", "--workspace", "64").stdout.rpartition("}\n")[0]
    settings = json.loads(plan + "}")["settings"]
    assert settings["workspace"] == 64 and settings["version_compatible"] is True


def test_overwriting(head_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    out.mkdir()
    (out / "photo.jpg").write_bytes(b"dear")
    exists = run(head_package, "--out", out, "--trt")
    assert isinstance(exists.exception, UsageError) and "exists already" in str(exists.exception)
    other = run(head_package, "--out", out, "--trt", "--overwrite")
    assert "only a bundle is overwritten" in str(other.exception)
    assert (out / "photo.jpg").read_bytes() == b"dear"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--trt"], "--trt needs --out DIR"),
        (["--workspace", "5"], "--workspace is an option of --trt"),
        (["--timing-cache", "x"], "--timing-cache is an option of --trt"),
        (["--verify-build", "--dla", "0"], "--dla is an option of --trt"),
        (["--sm", "SM89"], "--sm is an option of --verify-build"),
        (["--profile", "batch=1,1,1"], "--profile is an option of"),
        (["--stored-weights"], "--stored-weights is an option of --trt and --verify-build"),
        (["--out", "OUT", "--verify-build"], "is only verified is not written"),
        (["--out", "OUT", "--trt", "--profile", "batch=3,2,1"], "must rise from 1"),
        (["--out", "OUT", "--trt", "--timing-cache", "missing"], "missing cannot be read"),
        (["--out", "OUT", "--trt", "--dla", "0"], "image computes in fp32"),
        ([], "--out DIR is needed"),
    ],
)
def test_wrong_usage(
    head_package: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    out = tmp_path / "out"
    done = run(head_package, *(str(out) if a == "OUT" else a for a in arguments))
    assert isinstance(done.exception, UsageError), done.output
    assert complaint in str(done.exception)
    assert not out.exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.slow
def test_a_checkpoint_is_exported_into_the_bundle(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "device"
    done = run(checkpoint, "--out", out, "--trt", "--json")
    assert done.exit_code == 0, done.output
    exported, bundled = map(json.loads, done.stdout.splitlines())
    assert exported["package"] == str(out / "package") and bundled["bundle"] == str(out)
    package = read_package(out / "package")
    assert package.manifest.name == "device"
    assert Bundle(out).description["package"] == package.manifest.identity
    assert Bundle(out).networks["image"]["onnx"]["plugin"] == "networks/image.plugin.onnx"


def test_a_failed_build_leaves_the_bundle(
    head_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with a GPU whose TensorRT cannot be loaded."""
    monkeypatch.setattr(options, "why_not_here", lambda: None)
    out = tmp_path / "b"
    done = run(head_package, "--out", out, "--trt")
    assert isinstance(done.exception, ExportError)
    assert "could not be built" in str(done.exception) and "is whole" in str(done.exception)
    assert Bundle(out).verify() > 20


def test_profiles_are_ranges() -> None:
    assert Range(1, 2, 3)._asdict() == {"min": 1, "opt": 2, "max": 3}
