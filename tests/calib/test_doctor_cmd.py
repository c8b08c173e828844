from __future__ import annotations

import getpass
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.calib import doctor_facts
from edgesafe.calib import verify as verify_module
from edgesafe.calib.doctor_cmd import doctor
from edgesafe.runtime.backends import cuda
from edgesafe.runtime.errors import BackendError, PackageError, UsageError


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with ONNX Runtime on the CPU and nothing else."""
    real = verify_module.why_unusable

    def usable(backend: str) -> str | None:
        return real(backend) if backend == "cpu" else f"no {backend} in tests"

    def nothing() -> Any:
        raise BackendError("there is no NVIDIA driver")

    monkeypatch.setattr(verify_module, "why_unusable", usable)
    monkeypatch.setattr(doctor_facts, "why_unusable", usable)
    monkeypatch.setattr(cuda, "open_device", nothing)
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(doctor, list(arguments))


def test_the_report_tells_versions_and_backends_and_names_nobody() -> None:
    done = run()
    assert done.exit_code == 0, done.output
    for word in ("onnxruntime", "numpy", "| cpu | available |", "| cuda | no cuda in tests |"):
        assert word in done.stdout
    assert socket.gethostname() not in done.stdout
    assert os.path.expanduser("~") not in done.stdout
    assert f"/{getpass.getuser()}" not in done.stdout


def test_json_is_one_object() -> None:
    facts = json.loads(run("--json").stdout)
    assert facts["backends"]["cpu"] is None
    assert facts["gpu"] == {"available": False, "reason": "there is no NVIDIA driver"}
    assert facts["jetpack"] is None
    assert "device" not in facts


def test_device_replays_and_takes_the_time(tiny_package: Path) -> None:
    done = run("--device", "--model", str(tiny_package), "--runs", "3")
    assert done.exit_code == 0, done.output
    assert "| cpu | image.onnx fp32 | root_distance |" in done.stdout
    assert "| backend | file | wall ms | CPU ms | opened in s |" in done.stdout
    part = json.loads(run("--device", "--model", str(tiny_package), "--runs", "3", "--json").stdout)
    (timing,) = part["device"][0]["timings"]
    assert timing["backend"] == "cpu" and timing["wall_ms"] > 0 and timing["runs"] == 3


def test_a_backend_that_computes_something_else_is_told_after_the_report(
    tiny_parts: Any, tiny_image_model: Any, tmp_path: Path
) -> None:
    from edgesafe.runtime.package import write_package

    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(wrong_radius=1.1)
    write_package(tmp_path / "p", fields, files)
    done = run("--device", "--model", str(tmp_path / "p"), "--runs", "1")
    assert isinstance(done.exception, BackendError)
    assert "fails on cpu" in str(done.exception)
    assert "**too much**" in done.stdout


def test_misuse_is_refused(tmp_path: Path) -> None:
    assert isinstance(run("--model", "x").exception, UsageError)
    done = run("--device", "--model", str(tmp_path))
    assert isinstance(done.exception, PackageError)


def jetson(root: Path) -> Path:
    for name, text in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 3896, BOARD: generic\n",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: ok\nVersion: 6.2+b77\n\n"
        "Package: libnvinfer10\nVersion: 10.3.0.30-1+cuda12.5\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_jetson_is_read_from_its_files(tmp_path: Path) -> None:
    assert doctor_facts.jetpack_facts(tmp_path) is None
    assert doctor_facts.jetpack_facts(jetson(tmp_path)) == {
        "board": "NVIDIA Jetson AGX Orin Developer Kit",
        "l4t": "R36.4.3",
        "jetpack": "6.2+b77",
        "tensorrt": "10.3.0.30-1+cuda12.5",
        "power_mode": None,
    }


@pytest.mark.parametrize(
    ("system", "isolated", "words"),
    [
        (True, True, "venv --system-site-packages"),
        (False, True, "apt install python3-libnvinfer"),
    ],
)
def test_it_explains_jetpacks_tensorrt(
    tmp_path: Path, system: bool, isolated: bool, words: str
) -> None:
    facts = doctor_facts.gather()
    facts["jetpack"] = doctor_facts.jetpack_facts(jetson(tmp_path))
    facts["tensorrt"]["system_package"] = system
    facts["environment"]["isolated"] = isolated
    assert words in " ".join(doctor_facts.advice(facts))
    facts["backends"]["trt"] = None
    assert words not in " ".join(doctor_facts.advice(facts))


def test_a_gpu_without_its_libraries_and_a_cache_open_to_others(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    facts = doctor_facts.gather()
    facts["gpu"] = {"available": True}
    text = " ".join(doctor_facts.advice(facts))
    assert "edgesafe[trt]" in text and "edgesafe[gpu]" in text
    assert "The cache cannot be used" in text
    assert str(tmp_path) not in text
