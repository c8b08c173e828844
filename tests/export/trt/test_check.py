"""``python -m edgesafe.export.trt.check``: packages in every precision, as CI builds them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.export.retype import RetypeOptions
from edgesafe.export.trt import check, verify
from edgesafe.export.trt.bundle import PreparedNetwork
from edgesafe.export.trt.networks import read_any_package
from edgesafe.export.trt.settings import SMS
from edgesafe.export.trt.verify import BuildResult, ParseResult, Verified
from edgesafe.runtime.errors import ExportError, MissingExtraError, UsageError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, list[str]]]:
    """Verification that finds SM75 wanting; what it was asked for."""
    calls: list[tuple[str, str, list[str]]] = []

    def verified(prepared: PreparedNetwork, sms: Sequence[str], progress: object) -> Verified:
        network = prepared.network
        calls.append((network.name, network.precision, list(sms)))
        builds = tuple(
            BuildResult(sm, sm != "SM75", 1_500_000, 1.0, "", ("no product",) * (sm == "SM75"))
            for sm in sms
        )
        return Verified(
            network.name, network.precision, ParseResult(True, 9, 0.5, "1.7", ()), builds
        )

    monkeypatch.setattr(check, "verify_network", verified)
    return calls


def run(*arguments: object) -> str:
    result = CliRunner().invoke(
        check.main, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False
    )
    if result.exception:
        raise result.exception
    return result.stdout


def test_every_precision_and_capability(
    head_package: Path,
    asked: list[tuple[str, str, list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[RetypeOptions] = []

    def retyped(source: Path, out: Path, options: RetypeOptions, **rest: Any) -> Any:
        made.append(options)
        return SimpleNamespace(package=read_any_package(source))

    monkeypatch.setattr(check, "retype_package", retyped)
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n", encoding="utf-8")
    printed = run(head_package, "--calib", texts)
    assert [options.precision for options in made] == ["fp16", "int8"]
    assert [len(options.calib) for options in made] == [0, 2]
    # What a precision costs is judged elsewhere, and nothing but edgesafe quantises.
    assert all(options.allow_loss and options.method == "mse" for options in made)
    assert len(asked) == 6 and all(sms == [*SMS, "SM75"] for _, _, sms in asked)
    assert "6 of 6 graphs parse, 30 engines built, 6 refused" in printed
    assert "| image | fp32 | 9 | 1.5 MB | 1.5 MB | 1.5 MB | 1.5 MB | 1.5 MB | refused |" in printed
    assert "SM75 refused, not required: no product" in printed


def test_a_refusal_fails_after_all_is_told(
    head_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(prepared: PreparedNetwork, sms: Sequence[str], progress: object) -> Verified:
        builds = (BuildResult("SM89", False, 0, 1.0, "conv_7", ("no kernel",)),)
        return Verified("image", "fp32", ParseResult(True, 9, 0.5, "1.7", ()), builds)

    monkeypatch.setattr(check, "verify_network", refused)
    arguments = [str(head_package), "--precision", "fp32", "--sm", "SM89"]
    result = CliRunner().invoke(check.main, arguments)
    assert "| REFUSED |" in result.stdout and "2 refused" in result.stdout
    assert isinstance(result.exception, ExportError) and result.exception.exit_status == 3
    assert "image does not build for SM89 at the node 'conv_7'" in str(result.exception)


def test_what_is_missing_is_said(head_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="give --calib"):
        run(head_package)
    monkeypatch.setattr(verify.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="trt-check"):
        run(head_package, "--precision", "fp32")


def test_json_lines(head_package: Path, asked: list[tuple[str, str, list[str]]]) -> None:
    lines = run(head_package, "--precision", "fp32", "--json").splitlines()
    found = [json.loads(line) for line in lines]
    assert [item["network"] for item in found] == [name for name, _, _ in asked]
    assert all(item["package"] == head_package.name for item in found)


def test_continuous_integration_checks_every_sample_package() -> None:
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in steps and "make trt-check" in steps
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^TRT_CHECK := ((?:.*\\\n)*.*)$", recipe, re.MULTILINE)
    models = ROOT / "samples" / "models"
    for manifest in models.glob("*/manifest.json"):
        assert f"samples/models/{manifest.parent.name}" in line
    (target,) = re.findall(r"^trt-check:.*\n\t(.*)$", recipe, re.MULTILINE)
    assert set(re.findall(r"--sm (\w+)", target)) == set(SMS)
