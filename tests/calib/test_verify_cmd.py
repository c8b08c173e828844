"""`edgesafe verify` on packages whose errors are known."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgesafe.calib import verify as verify_module
from edgesafe.calib.verify import BackendReport, Check, verify_package
from edgesafe.calib.verify_cmd import verify
from edgesafe.runtime.errors import BackendError, PackageError
from edgesafe.runtime.package import read_package, write_package, write_pose_package

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def pose_helpers() -> Any:
    """The makers of tiny pose packages, of the tests of the runtime."""
    path = HERE.parent / "runtime" / "pose" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pose_package_makers", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed where the tests run."""
    real = verify_module.why_unusable
    monkeypatch.setattr(
        verify_module, "why_unusable", lambda b: real(b) if b == "cpu" else f"no {b} in tests"
    )


def run(*arguments: str) -> Any:
    return CliRunner(catch_exceptions=True).invoke(verify, list(arguments))


def shifted(tiny_parts: Any, folder: Path, root: float, turn: float) -> Path:
    """A package whose golden answers are off by known amounts, with wide tolerances."""
    fields, files = tiny_parts()
    golden = json.loads(files["golden.json"])
    golden["tolerances"] = {"pixels": 0.02, "embedding": 0.05, "root_distance": 0.02}
    answer = golden["image"][0]
    answer["root_distance"] /= 1 + root
    e = np.array(answer["embedding"])
    # At right angles, so that the length of the difference is known.
    across = np.zeros_like(e)
    across[-1] = np.linalg.norm(e) * turn
    answer["embedding"] = [float(value) for value in e + across]
    files["golden.json"] = json.dumps(golden).encode()
    write_package(folder, fields, files)
    return folder


def test_a_good_package_passes_and_missing_backends_are_listed(tiny_package: Path) -> None:
    done = run(str(tiny_package))
    assert done.exit_code == 0, done.output
    assert "cpu       ok" in done.stdout
    assert "cuda      not available: no cuda in tests" in done.stdout
    for output in ("pixels", "embedding", "root_distance", "exterior_angle", "token_ids"):
        assert output in done.stdout


def test_the_errors_are_the_true_ones(tiny_parts: Any, tmp_path: Path) -> None:
    package = read_package(shifted(tiny_parts, tmp_path / "p", root=0.01, turn=0.03))
    (report,) = verify_package(package, ["cpu"])
    found = {(c.file, c.output): c for c in report.checks}
    assert report.ok
    assert found["image.onnx", "root_distance"].error == pytest.approx(0.01, rel=1e-4)
    off = found["image.onnx", "embedding"].error
    assert off == pytest.approx(0.03 / math.hypot(1, 0.03), rel=1e-4)
    assert 1e-3 < found["image.onnx", "exterior_angle"].error < 0.2
    assert found["text.onnx", "embedding"].error < 1e-6
    assert found["text.onnx", "token_ids"].error == 0


def test_too_large_an_error_exits_3_after_the_report(tiny_parts: Any, tmp_path: Path) -> None:
    package = shifted(tiny_parts, tmp_path / "p", root=0.03, turn=0.0)
    done = run(str(package), "--json")
    assert isinstance(done.exception, PackageError) and done.exception.exit_status == 3
    assert "does not compute on cpu" in str(done.exception)
    record = json.loads(done.stdout)
    assert record["ok"] is False
    cpu = record["backends"][0]
    bad = [c["output"] for c in cpu["checks"] if not c["ok"]]
    assert bad == ["root_distance"]
    assert "<-- too much" in run(str(package)).stdout


def test_nan_is_never_right(tiny_parts: Any, tiny_image_model: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(wrong_radius=float("nan"))
    package = write_package(tmp_path / "p", fields, files)
    (report,) = verify_package(package, ["cpu"])
    assert not report.ok
    record = json.loads(run(str(tmp_path / "p"), "--json").stdout)
    errors = {c["output"]: c["error"] for c in record["backends"][0]["checks"][:3]}
    assert errors["root_distance"] is None


def test_a_model_that_does_not_run_is_a_failure(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    files["image.onnx"] = b"\x08\x01"
    write_package(tmp_path / "p", fields, files)
    done = run(str(tmp_path / "p"))
    assert isinstance(done.exception, PackageError)
    assert "cpu       FAILED" in done.stdout
    assert "refuses" in done.stdout


def test_a_named_backend_that_is_missing_is_an_error(tiny_package: Path) -> None:
    done = run(str(tiny_package), "--backend", "openvino")
    assert isinstance(done.exception, BackendError)
    assert run(str(tiny_package), "--backend", "cpu").exit_code == 0


def test_a_pose_package(pose_helpers: Any, tmp_path: Path) -> None:
    fields, files = pose_helpers.pose_parts(detector=pose_helpers.detector_network())
    package = write_pose_package(tmp_path / "p", fields, files)
    (report,) = verify_package(package, ["cpu"])
    assert report.ok, report
    outputs = {check.output for check in report.checks}
    assert {"keypoints", "covariance", "mask", "heat", "box"} <= outputs
    assert all(check.error < 1e-5 for check in report.checks)
    golden = json.loads(files["golden.json"])
    place, value = golden["roi"][0]["outputs"]["keypoints"][3]
    golden["roi"][0]["outputs"]["keypoints"][3] = [place, value + 0.5]
    files["golden.json"] = json.dumps(golden).encode()
    package = write_pose_package(tmp_path / "q", fields, files)
    (report,) = verify_package(package, ["cpu"])
    bad = [check for check in report.checks if not check.ok]
    assert [check.output for check in bad] == ["keypoints"]
    assert bad[0].error == pytest.approx(0.5 / (1 + abs(value + 0.5)), rel=1e-4)


def test_a_report_is_right_only_if_all_is() -> None:
    good = Check("f", "fp32", "o", 0.1, 0.1, 1)
    free = Check("f", "fp32", "o", 9.0, None, 1)
    bad = Check("f", "fp32", "o", 0.2, 0.1, 1)
    assert BackendReport("cpu", checks=(good, free)).ok
    assert not BackendReport("cpu", checks=(good, bad)).ok
    assert not BackendReport("cpu", failure="x", checks=(good,)).ok
    assert not BackendReport("cpu", unavailable="x").ok
