"""``--verify-build``: does TensorRT take the networks of a package? Answered without a GPU.

TensorRT-RTX parses with the parser of TensorRT and builds ahead of time for compute capabilities
that it is told. It takes strongly typed networks only, as TensorRT 11 does. What it cannot tell:
how fast an engine is, and what it answers; and it knows neither plugins nor the compute
capabilities of Jetsons and of servers above 8.9.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgesafe.export.trt.bundle import PreparedNetwork
from edgesafe.export.trt.device.profiles import shapes
from edgesafe.export.trt.settings import SM_OPTIONAL, SMS
from edgesafe.runtime.errors import ExportError, MissingExtraError

__all__ = ["BuildResult", "ParseResult", "Verified", "check_verified", "verify_network"]

_WORKER = Path(__file__).with_name("rtx_worker.py")
_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class ParseResult:
    """What the parser found.

    Attributes:
        ok: Whether it took the network.
        layers: Of the TensorRT network.
        seconds: Wall time.
        version: Of TensorRT-RTX.
        errors: One line per node that it refuses, with the node's name.
    """

    ok: bool
    layers: int
    seconds: float
    version: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class BuildResult:
    """What one ahead-of-time build gave.

    Attributes:
        sm: The compute capability, e.g. ``SM89``.
        ok: Whether it built.
        size: Of the engine, bytes.
        seconds: Wall time.
        node: Of the graph, where an error names one.
        errors: Of the builder.
    """

    sm: str
    ok: bool
    size: int
    seconds: float
    node: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Verified:
    """What TensorRT-RTX says about one network."""

    network: str
    precision: str
    parse: ParseResult
    builds: tuple[BuildResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "network": self.network,
            "precision": self.precision,
            "tensorrt_rtx": self.parse.version,
            "layers": self.parse.layers,
            "parse_seconds": round(self.parse.seconds, 2),
            "parse_errors": list(self.parse.errors),
            "builds": {
                build.sm: {
                    "ok": build.ok,
                    "bytes": build.size,
                    "seconds": round(build.seconds, 2),
                    **({"node": build.node, "errors": list(build.errors)} if not build.ok else {}),
                }
                for build in self.builds
            },
        }


def verify_network(
    prepared: PreparedNetwork,
    sms: Sequence[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> Verified:
    """Parse and build one network, in processes of their own.

    Args:
        prepared: Its function variant is built: TensorRT-RTX has no plugins.
        sms: Compute capabilities; None for all of :data:`SMS` and :data:`SM_OPTIONAL`, empty to
            parse only.
        progress: Called with a line at the start of each stage.

    Raises:
        MissingExtraError: TensorRT-RTX is not installed.
        ExportError: It cannot be run at all.
    """
    if importlib.util.find_spec("tensorrt_rtx") is None:
        raise MissingExtraError("tensorrt-rtx", "trt-check")
    name = prepared.network.name
    nodes = [node.name for node in onnx.load_from_string(prepared.function).graph.node if node.name]
    parse: ParseResult | None = None
    builds: list[BuildResult] = []
    open_ = list((*SMS, *SM_OPTIONAL) if sms is None else sms)
    with tempfile.TemporaryDirectory(prefix="edgesafe-trt-") as folder:
        file = Path(folder) / "network.onnx"
        file.write_bytes(prepared.function)
        while parse is None or open_:
            to_do = f"building {name} for {', '.join(open_)}" if open_ else f"parsing {name}"
            progress(to_do)
            found, ending = _run(prepared, file, open_)
            first = next((item for item in found if item["kind"] == "parse"), None)
            if first is None:
                return _ended_in_parser(prepared, ending)
            parse = parse or _parse_result(first)
            done = [_build_result(i, nodes) for i in found if i["kind"] == "build"]
            builds += done
            started = [item["sm"] for item in found if item["kind"] == "start"]
            if not parse.ok or not ending or not open_:
                break
            # The process ended during the last build that it had started.
            builds += [BuildResult(sm, False, 0, 0.0, "", (ending,)) for sm in started[len(done) :]]
            if not started:
                raise ExportError(f"TensorRT-RTX ended before it built {name}: {ending}")
            open_ = open_[len(started) :]
    assert parse is not None
    return Verified(name, prepared.network.precision, parse, tuple(builds))


def check_verified(results: Sequence[Verified]) -> None:
    """Complain about networks that do not build where they must.

    Raises:
        ExportError: Naming network, compute capability and node of everything that failed.
    """
    lines = []
    for result in results:
        lines += [f"{result.network} does not parse: {error}" for error in result.parse.errors]
        if not result.parse.ok and not result.parse.errors:
            lines.append(f"{result.network} does not parse")
        for build in result.builds:
            if build.ok or build.sm in SM_OPTIONAL:
                continue
            where = f" at the node {build.node!r}" if build.node else ""
            why = build.errors[0] if build.errors else "no reason was given"
            lines.append(f"{result.network} does not build for {build.sm}{where}: {why}")
    if lines:
        raise ExportError("TensorRT-RTX refuses the package\n  " + "\n  ".join(lines))


def _run(
    prepared: PreparedNetwork, file: Path, sms: Sequence[str]
) -> tuple[list[dict[str, Any]], str]:
    """Run the worker once; return its findings, and how it ended where that was not well."""
    job = {
        "onnx": str(file),
        "sms": list(sms),
        "shapes": {
            name: shapes(value.shape, prepared.profile)
            for name, value in prepared.network.inputs.items()
        },
    }
    try:
        done = subprocess.run(
            [sys.executable, str(_WORKER)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"TensorRT-RTX did not finish {prepared.network.name} in {_TIMEOUT_SECONDS} s"
        ) from None
    findings = []
    for line in done.stdout.splitlines():
        try:
            item = json.loads(line)
        except ValueError:
            continue  # what libraries print
        if isinstance(item, dict) and "kind" in item:
            findings.append(item)
    if done.returncode == 0:
        return findings, ""
    last = (done.stderr.strip().splitlines() or ["without a message"])[-1]
    return findings, f"the process ended with status {done.returncode}: {last}"


def _ended_in_parser(prepared: PreparedNetwork, ending: str) -> Verified:
    parse = ParseResult(False, 0, 0.0, "", (ending or "no answer",))
    return Verified(prepared.network.name, prepared.network.precision, parse, ())


def _parse_result(item: dict[str, Any]) -> ParseResult:
    errors = tuple(
        f"{e['operator']} {e['node']!r}: {e['message']}".replace("\n", " ") for e in item["errors"]
    )
    return ParseResult(item["ok"], item["layers"], item["seconds"], item["version"], errors)


def _build_result(item: dict[str, Any], nodes: Sequence[str]) -> BuildResult:
    errors = tuple(error.replace("\n", " ") for error in item["errors"])
    node = "" if item["ok"] else _blame(errors, nodes)
    return BuildResult(item["sm"], item["ok"], item["bytes"], item["seconds"], node, errors)


def _blame(errors: Sequence[str], nodes: Sequence[str]) -> str:
    """The node that the errors name; the longest, for one name may be part of another."""
    named = [
        node
        for node in set(nodes)
        if any(re.search(rf"(?<!\w){re.escape(node)}(?!\w)", error) for error in errors)
    ]
    return max(named, key=len, default="")
