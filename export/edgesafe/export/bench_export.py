"""``edgesafe bench export``: what export, int8 and the backend win over PyTorch.

All on one thread. Rounds are interleaved, so that other work on the machine meets all alike, and
what is compared is CPU time of the process: medians, and medians of the ratios within a round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
import numpy as np

from edgesafe.calib.machine import machine_facts
from edgesafe.export.bench_contenders import (
    GEMM,
    Run,
    floors,
    make_contenders,
    make_tower,
    one_thread,
)

__all__ = ["export", "measure"]

_EAGER = "PyTorch eager"


@click.command("export")
@click.option("--tower", "tower_name", default="ViT-B-32", show_default=True, help="Of open_clip.")
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 8))
@click.option("--rounds", type=click.IntRange(3), default=15, show_default=True)
@click.option(
    "--compile/--no-compile", "compiled", default=True, show_default=True, help="torch.compile."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    tower_name: str, batches: tuple[int, ...], rounds: int, compiled: bool, as_json: bool
) -> None:
    """Compare PyTorch, ONNX Runtime and OpenVINO, fp32 and int8, on an image tower.

    Its weights are random: speed is compared, not accuracy. Beside each stands the share of the
    speed of a plain matrix product in the same type.
    """
    machine = machine_facts()

    def progress(line: str) -> None:
        click.echo(line, err=True)

    with one_thread():
        tower = make_tower(tower_name)
        contenders, missing = make_contenders(tower, compiled=compiled, progress=progress)
        results = []
        for batch in batches:
            progress(f"batch {batch}")
            runs = {contender.name: contender.prepare(batch) for contender in contenders}
            results.append(measure(runs, batch, tower.flops, rounds))
    record = {
        "tower": tower_name,
        "weights": "random",
        "gflop_per_picture": tower.flops / 1e9,
        "threads": 1,
        "rounds": rounds,
        "machine": machine,
        "left_out": missing,
        "batches": results,
    }
    click.echo(json.dumps(record) if as_json else "\n".join(_lines(record)))


def measure(runs: Mapping[str, Run], batch: int, flops: int, rounds: int) -> dict[str, Any]:
    """Time all runs and the two floors in interleaved rounds.

    Args:
        runs: Name to one run; ``PyTorch eager`` is what the others are compared with.
        batch: Pictures of a run.
        flops: Multiplications and additions of one picture.
        rounds: How many; one more warms up.

    Returns:
        ``floors``: type to ``gops`` and ``cpu_ms`` a picture would take at that speed; ``rows``:
        name to medians ``cpu_ms`` and ``wall_ms`` of a picture, ``speedup`` over eager, and
        ``of_peak``, the share of the floor's speed that is reached.
    """
    everything = {**runs, **{f"floor {kind}": run for kind, run in floors().items()}}
    cpu: dict[str, list[float]] = {name: [] for name in everything}
    wall: dict[str, list[float]] = {name: [] for name in everything}
    for run in everything.values():
        run()
    for _ in range(rounds):
        for name, run in everything.items():
            begin = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - begin[0])
            cpu[name].append(time.process_time() - begin[1])
    product = 2.0 * GEMM**3
    # Seconds of one picture, were all of it as fast as the product.
    ideal = {k: np.array(cpu[f"floor {k}"]) / product * flops for k in ("fp32", "int8")}
    rows = {}
    for name in runs:
        each = np.array(cpu[name]) / batch
        kind = "int8" if name.startswith("int8") else "fp32"
        rows[name] = {
            "cpu_ms": 1e3 * float(np.median(each)),
            "wall_ms": 1e3 * float(np.median(wall[name])) / batch,
            "speedup": float(np.median(np.array(cpu[_EAGER]) / batch / each)),
            "of_peak": float(np.median(ideal[kind] / each)),
        }
    return {
        "batch": batch,
        "floors": {
            kind: {
                "gops": product / float(np.median(cpu[f"floor {kind}"])) / 1e9,
                "cpu_ms": 1e3 * float(np.median(seconds)),
            }
            for kind, seconds in ideal.items()
        },
        "rows": rows,
    }


def _lines(record: dict[str, Any]) -> Iterator[str]:
    machine = record["machine"]
    yield (
        f"image tower of {record['tower']}, random weights, "
        f"{record['gflop_per_picture']:.2f} GFLOP a picture; one thread, {record['rounds']} "
        "interleaved rounds, medians"
    )
    yield f"machine   {machine['processor']}, {machine['cores']} cores, load {machine['load_1min']}"
    for part in record["batches"]:
        yield ""
        yield f"batch {part['batch']:<16}{'CPU ms':>9}{'wall ms':>9}{'x eager':>9}{'of peak':>9}"
        for name, row in part["rows"].items():
            yield (
                f"  {name:<20}{row['cpu_ms']:9.1f}{row['wall_ms']:9.1f}{row['speedup']:9.2f}"
                f"{100 * row['of_peak']:8.0f}%"
            )
        for kind, floor in part["floors"].items():
            yield (
                f"  {'product ' + kind:<20}{floor['cpu_ms']:9.1f}"
                f"   ({floor['gops']:.0f} G operations a second)"
            )
    for name, reason in record["left_out"].items():
        yield f"left out: {name}: {reason}"
