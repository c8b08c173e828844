"""The device bundle, written and used as a device uses it."""

from __future__ import annotations

import json
import os
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


def test_a_dry_run_needs_nothing_but_python(bundle: Path, tmp_path: Path) -> None:
    library = tmp_path / "x.so"
    library.write_bytes(b"")
    done = build(bundle, "--dry-run", "--ops", "plugin", "--plugin-library", str(library))
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
        (["--profile", "batch=3,2,1"], "must rise from 1"),
        (["--workspace", "0"], "'0' is not a whole number from 1 on"),
        (["--workspace", "much"], "'much' is not a whole number"),
        (["--dla", "-1"], "'-1' is not a whole number from 0 on"),
        (["--ops", "plugin"], "needs --plugin-library"),
        (["--ops", "plugin", "--plugin-library", "/x.so"], "there is no plugin library /x.so"),
        (["--plugin-library", "/x.so"], "is an option of --ops plugin"),
        (["--out", "BUNDLE/mine"], "is in the bundle: name a place outside of it"),
        (["--out", "BUNDLE"], "is in the bundle: name a place outside of it"),
        (["--out", "BUNDLE/bundle.json"], "is not a folder"),
        (["--timing-cache", "BUNDLE/networks/t"], "is in the bundle"),
        (["--out", "/dev/null/engines"], "/dev/null is not a folder: choose another place"),
        (["--timing-cache", "BUNDLE/networks"], "is a folder: name a file"),
        (["--timing-cache", "/dev/null/times"], "/dev/null is not a folder: choose another place"),
    ],
)
def test_wrong_options_of_the_build_script(
    bundle: Path, arguments: list[str], complaint: str
) -> None:
    pytest.raises(ImportError, __import__, "tensorrt")
    given = [a.replace("BUNDLE", str(bundle)) for a in arguments]
    for more in (["--dry-run"], []):
        done = build(bundle, *more, *given)
        assert done.returncode == 2, done.stderr
        assert complaint in done.stderr and "Traceback" not in done.stderr
    assert not (bundle / "engines").exists()


def test_what_a_network_cannot_do_is_no_wrong_option(bundle: Path) -> None:
    done = build(bundle, "--dry-run", "--dla", "0")
    assert done.returncode == 3
    assert "image computes in fp32, DLA in fp16 and int8 only" in done.stderr
    assert "--network" in done.stderr


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
    missing = build(copy, "--dry-run").stderr
    assert "image.onnx is missing: copy the bundle again" in missing and "Errno" not in missing
    with pytest.raises(BundleError, match="lists no file 'x'"):
        Bundle(copy).read("x")
    (copy / "bundle.json").write_text('{"format": "edgesafe.trt-bundle/9"}')
    assert "'edgesafe.trt-bundle/9', not" in build(copy, "--dry-run").stderr
    (copy / "bundle.json").unlink()
    missing = build(copy, "--dry-run").stderr
    assert "holds no readable bundle.json" in missing and "copy the bundle again" in missing


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_an_edit_of_the_description_is_found(copied: Path) -> None:
    file = copied / "bundle.json"
    description = json.loads(file.read_text())
    description["networks"]["image"]["golden"]["tolerances"]["embedding"] = 9.0
    file.write_text(json.dumps(description))
    done = build(copied, "--dry-run")
    assert done.returncode == 3 and "does not match its own digest" in done.stderr
    assert "verified" not in done.stdout
    # Other white space and another order say the same.
    description["networks"]["image"]["golden"]["tolerances"]["embedding"] = TOLERANCES["fp32"]
    file.write_text(json.dumps(dict(reversed(description.items()))))
    assert build(copied, "--dry-run").returncode == 0


@pytest.mark.parametrize(
    "text", ["[]", '{"format": "edgesafe.trt-bundle/1", "x": NaN}', "[" * 100_000, "\udcff"]
)
def test_a_description_that_is_none(copied: Path, text: str) -> None:
    (copied / "bundle.json").write_text(text, errors="surrogateescape")
    done = build(copied, "--dry-run")
    assert done.returncode == 3 and "copy the bundle again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_description_without_a_digest(copied: Path) -> None:
    file = copied / "bundle.json"
    description = json.loads(file.read_text())
    del description["digest"]
    file.write_text(json.dumps(description))
    assert "does not match its own digest" in build(copied, "--dry-run").stderr


@pytest.mark.parametrize("name", ["numpy.py", "json.py", "tensorrt/__init__.py", "plugin/numpy.py"])
def test_a_module_that_is_not_of_the_bundle_is_not_imported(copied: Path, name: str) -> None:
    file = copied / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('imported')\n")
    for arguments in (["--dry-run"], []):
        # As a user starts it: with -I the folder of the script is not looked into anyway.
        command = [sys.executable, str(copied / "build_engine.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=copied)
        assert done.returncode == 3 and "imported" not in done.stdout
        assert "a bundle holds its own files only" in done.stderr


def test_links_are_not_followed(copied: Path, tmp_path: Path) -> None:
    file = copied / "networks/image.onnx"
    shutil.move(file, tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    done = build(copied, "--dry-run")
    assert done.returncode == 3 and "networks/image.onnx is a link" in done.stderr
    file.unlink()
    shutil.move(tmp_path / "elsewhere", file)
    (copied / "engines").symlink_to(tmp_path)
    assert "engines is a link" in build(copied, "--dry-run").stderr


def test_what_a_build_leaves_is_of_the_bundle(copied: Path) -> None:
    left = [
        "engines/image.engine", "engines/more/image.engine", "plugin/build/lib/libedgesafe_head.so",
        "timing.cache", ".timing.cache.4711", "edgesafe_trt/__pycache__/build.cpython-310.pyc",
        "plugin/__pycache__/quick_deploy.cpython-310.pyc",
    ]  # fmt: skip
    for name in left:
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(b"")
    (copied / "plugin/build/libedgesafe_head.so").symlink_to("lib/libedgesafe_head.so")
    (copied / "engines/big.engine").symlink_to("/somewhere")
    done = build(copied, "--dry-run", "--out", str(copied / "engines/more"))
    assert done.returncode == 0, done.stderr
    (copied / "old").mkdir()
    assert "old is a folder that the bundle does not list" in build(copied, "--dry-run").stderr


def test_a_listed_file_that_is_none(copied: Path) -> None:
    (copied / "README.txt").unlink()
    os.mkfifo(copied / "README.txt")
    assert "README.txt is no plain file" in build(copied, "--dry-run").stderr


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
    for theirs in ("{}", '{"format": 1}', "[", "[]"):
        (out / "bundle.json").write_text(theirs)
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


CONVERT = ["--precision", "fp16", "--trt"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([*CONVERT, "--profile", "nonsense"], "is not a profile"),
        ([*CONVERT, "--profile", "batch=3,2,1"], "must rise from 1"),
        ([*CONVERT, "--dla", "0", "--version-compatible"], "leave version compatibility away"),
        ([*CONVERT, "--dla", "0", "--hardware-compatible", "same"], "hardware compatibility away"),
        ([*CONVERT, "--dla", "0", "--profile", "batch=1,1,4"], "DLA takes fixed shapes only"),
        ([*CONVERT, "--timing-cache", "missing"], "missing cannot be read"),
        (["--trt", "--name", "x", "--dla", "0"], "computes in fp32"),
        (["--verify-build", "--precision", "fp16", "--profile", "nonsense"], "is not a profile"),
    ],
)
@pytest.mark.parametrize("kind", ["package", "checkpoint"])
def test_refused_before_an_export_that_takes_minutes(
    head_package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    arguments: list[str],
    complaint: str,
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was exported")

    for name in ("typed_options.retype_package", "cli.export_package"):
        monkeypatch.setattr(f"edgesafe.export.{name}", never)
    source = head_package
    if kind == "checkpoint":
        source = tmp_path / "checkpoint"
        source.mkdir()
        (source / "checkpoint.json").write_text("{}")
    done = run(source, "--out", tmp_path / "out", *arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert complaint in str(done.exception)
    assert not [p for p in tmp_path.iterdir() if p.name != "checkpoint"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--profile", "tokens=1,2,99"], "text.tokens is at most 12"),
        (["--profile", "audio.batch=1,1,1"], "no network has a dimension audio.batch"),
        (["--dla", "0"], "give the profile of image equal min"),
        (["--only", "text", "--dla", "0"], "the network image computes in fp32"),
    ],
)
def test_a_package_tells_its_networks_before_it_is_converted(
    head_package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was converted")

    monkeypatch.setattr("edgesafe.export.typed_options.retype_package", never)
    done = run(head_package, "--out", tmp_path / "out", *CONVERT, *arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert complaint in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_a_converted_package_may_keep_its_stored_weights(
    head_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):
        pass

    def reached(*_: Any, **__: Any) -> None:
        raise Reached

    monkeypatch.setattr("edgesafe.export.typed_options.retype_package", reached)
    done = run(head_package, "--out", tmp_path / "out", *CONVERT, "--stored-weights")
    assert isinstance(done.exception, Reached), done.output


def test_advice_about_dla_names_options_that_are_there(head_package: Path, tmp_path: Path) -> None:
    done = run(head_package, "--out", tmp_path / "out", "--trt", "--dla", "0")
    words = str(done.exception)
    assert "leave it out with --network" not in words
    assert "pass --dla and --network to build_engine.py on the device" in words


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
