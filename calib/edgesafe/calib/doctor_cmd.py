"""``edgesafe doctor``: what is here, what is missing, and a report to paste into an issue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgesafe.calib.doctor_facts import advice, gather
from edgesafe.runtime.backends.base import CONCRETE
from edgesafe.runtime.errors import BackendError, UsageError

__all__ = ["doctor"]


@click.command()
@click.option(
    "--device",
    is_flag=True,
    help="Also build the engines, replay the golden pairs on every backend and take their time.",
)
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="With --device: package to try; may be given several times.  [default: the samples]",
)
@click.option("--runs", type=click.IntRange(1, 10_000), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(device: bool, models: tuple[Path, ...], runs: int, as_json: bool) -> None:
    """Show versions, backends, libraries, processor and GPU, and what could be mended.

    Nothing that names a user, a host or a folder is printed. With --device a backend that computes
    something else ends with exit status 3, after the report.
    """
    if models and not device:
        raise UsageError("--model is what --device tries: give both")
    facts = gather()
    facts["advice"] = advice(facts)
    failed: list[str] = []
    if device:
        facts["device"] = _try_device(models or _samples(), runs, failed)
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
    else:
        click.echo("\n".join(_lines(facts)))
    if failed:
        raise BackendError(
            f"not all is well on this machine: {'; '.join(failed)}; paste the report into an issue"
        )


def _samples() -> tuple[Path, ...]:
    from edgesafe.runtime.errors import SourceError
    from edgesafe.runtime.package import default_model_path
    from edgesafe.runtime.pose.estimator import SAMPLE

    found = [default_model_path()]
    try:
        found.append(default_model_path(SAMPLE))
    except SourceError:
        pass  # this installation comes without it
    return tuple(found)


def _try_device(paths: tuple[Path, ...], runs: int, failed: list[str]) -> list[dict[str, Any]]:
    from edgesafe.calib.device_bench import compare_backends
    from edgesafe.calib.verify import verify_package
    from edgesafe.calib.verify_cmd import read_any_package, report_record

    results = []
    for path in paths:
        package = read_any_package(path)
        reports = list(
            verify_package(package, CONCRETE, progress=lambda line: click.echo(line, err=True))
        )
        ran = [report for report in reports if report.unavailable is None]
        name = package.manifest.name
        failed += [f"{name} fails on {report.backend}" for report in ran if not report.ok]
        click.echo(f"taking the time of {name}", err=True)
        timings = compare_backends(package, [report.backend for report in ran], runs=runs)
        results.append(
            {
                "package": package.manifest.identity,
                # The reasons of those that are missing are told once, above.
                "verify": [report_record(report) for report in ran],
                "timings": [asdict(timing) for timing in timings],
            }
        )
    return results


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    """Yield the report in Markdown."""
    system, cpu, gpu, trt = facts["system"], facts["cpu"], facts["gpu"], facts["tensorrt"]
    yield f"### edgesafe {facts['edgesafe']}, {facts['python']}"
    yield f"* system: {system['name']}, {system['distribution']}, kernel {system['kernel']}"
    memory = "?" if cpu["memory_gib"] is None else cpu["memory_gib"]
    flags = " ".join(cpu["flags"])
    yield f"* processor: {cpu['name']}, {cpu['cores']} cores, {memory} GiB, {flags}"
    if gpu["available"]:
        yield (
            f"* GPU: {gpu['name']}, compute capability {gpu['compute_capability']}, "
            f"{gpu['memory_gib']} GiB, driver for CUDA {gpu['cuda_of_driver']}"
        )
    else:
        yield "* GPU: none that can be used"
    if facts["jetpack"]:
        known = (f"{key} {value}" for key, value in facts["jetpack"].items() if value)
        yield f"* Jetson: {', '.join(known)}"
    yield f"* TensorRT for Python: {trt['version'] or 'none'}"
    environment = facts["environment"]
    kind = "virtual, isolated from the system's packages" if environment["isolated"] else "open"
    yield f"* Python environment: {kind}"
    yield f"* libraries: {', '.join(f'{n} {v}' for n, v in facts['libraries'].items())}"
    yield ""
    yield "| backend | |"
    yield "|---|---|"
    for name, reason in facts["backends"].items():
        yield f"| {name} | {'available' if reason is None else reason} |"
    for part in facts.get("device", ()):
        yield ""
        yield from _device_lines(part)
    if facts["advice"]:
        yield ""
    for line in facts["advice"]:
        yield f"* {line}"


def _device_lines(part: dict[str, Any]) -> Iterator[str]:
    yield f"### {part['package']}"
    yield "| backend | file | output | error | limit | |"
    yield "|---|---|---|---|---|---|"
    for report in part["verify"]:
        if report["reason"]:
            yield f"| {report['backend']} | | | | | {report['reason']} |"
        for check in report["checks"]:
            error = "none" if check["error"] is None else f"{check['error']:.2e}"
            limit = "" if check["tolerance"] is None else f"{check['tolerance']:g}"
            mark = "ok" if check["ok"] else "**too much**"
            yield (
                f"| {report['backend']} | {check['file']} {check['precision']} | {check['output']} "
                f"| {error} | {limit} | {mark} |"
            )
    yield ""
    yield "| backend | file | wall ms | CPU ms | opened in s |"
    yield "|---|---|---|---|---|"
    opened = {report["backend"]: report["seconds"] for report in part["verify"]}
    for timing in part["timings"]:
        seconds = opened[timing["backend"]].get(timing["file"], 0.0)
        yield (
            f"| {timing['backend']} | {timing['file']} | {timing['wall_ms']:.2f} "
            f"| {timing['cpu_ms']:.2f} | {seconds:.2f} |"
        )
