"""Imports go down only, and what runs on a device runs without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Everything that must work with `edgesafe[cpu]` alone.
DEVICE = [
    *sorted(
        ".".join(path.relative_to(ROOT / part).with_suffix("").parts)
        for part in ("runtime", "calib")
        for path in (ROOT / part).rglob("*.py")
        if path.name != "__init__.py"
    ),
    "edgesafe.samples.demo",
    "edgesafe.samples.report",
]

HOOK = """
import importlib, sys
forbidden = set(sys.argv[1].split(","))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        above = name.startswith(("edgesafe.train", "edgesafe.export"))
        if above or name.partition(".")[0] in forbidden:
            raise AssertionError(f"{name} was imported")
sys.meta_path.insert(0, Refuse())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def import_without(forbidden: str, *modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HOOK, forbidden, *modules], capture_output=True, text=True
    )


def test_the_list_of_device_modules_is_not_empty() -> None:
    assert {"edgesafe.cli", "edgesafe.runtime.moderator", "edgesafe.calib.bench"} <= set(DEVICE)


def test_nothing_on_the_device_imports_torch() -> None:
    done = import_without("torch,torchvision,transformers,scipy,onnx", *DEVICE)
    assert done.returncode == 0, done.stderr


def test_importing_the_runtime_loads_no_backend_and_no_decoder_of_video() -> None:
    done = import_without("torch,onnxruntime,cv2,tokenizers,tensorrt,openvino", *DEVICE)
    assert done.returncode == 0, done.stderr


def test_the_hook_of_these_tests_sees_an_import() -> None:
    done = import_without("json", "json.tool")
    assert done.returncode != 0
    assert "json was imported" in done.stderr


def test_no_portion_closes_the_namespace() -> None:
    closed = list(ROOT.glob("*/edgesafe/__init__.py"))
    assert closed == []


@pytest.mark.parametrize("part", ["runtime", "calib", "train", "export", "samples"])
def test_every_part_is_a_package_with_a_docstring(part: str) -> None:
    init = ROOT / part / "edgesafe" / part / "__init__.py"
    text = init.read_text(encoding="utf-8")
    assert text.startswith('"""')


def test_the_import_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="import-linter comes with edgesafe[check]")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
