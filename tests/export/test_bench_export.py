"""The arithmetic of the comparison, on work of known size; the whole on a small tower (slow)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from edgesafe.export import bench_export
from edgesafe.export.bench_contenders import make_tower
from edgesafe.export.bench_export import export, measure
from edgesafe.runtime.errors import UsageError


class Clock:
    """CPU time that only the runs move, wall time twice as fast."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, *seconds: float) -> Any:
        left = list(seconds)

        def run() -> None:
            self.now += left[0] if len(left) == 1 else left.pop(0)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bench_export.time, "process_time", lambda: clock.now)
    monkeypatch.setattr(bench_export.time, "perf_counter", lambda: 2 * clock.now)
    monkeypatch.setattr(bench_export, "GEMM", 100)  # two million operations
    products = {"fp32": clock.spend(0.002), "int8": clock.spend(0.0005)}
    monkeypatch.setattr(bench_export, "floors", lambda: products)
    return clock


def test_ratios_and_shares_of_the_floor(clock: Clock) -> None:
    runs = {
        # The first is the warm-up; then one round is slow for all, as on a busy machine.
        "PyTorch eager": clock.spend(9.0, 0.4, 4.0, 0.4),
        "int8 on OpenVINO": clock.spend(9.0, 0.1, 1.0, 0.1),
    }
    found = measure(runs, batch=4, flops=100_000_000, rounds=3)
    eager, ours = found["rows"]["PyTorch eager"], found["rows"]["int8 on OpenVINO"]
    assert eager["cpu_ms"] == pytest.approx(100)
    assert ours["cpu_ms"] == pytest.approx(25)
    assert ours["wall_ms"] == pytest.approx(50)
    assert (eager["speedup"], ours["speedup"]) == (pytest.approx(1), pytest.approx(4))
    # 0.1 GFLOP at 1 GFLOP a second is 100 ms, and at 4 GOP a second 25 ms.
    assert found["floors"]["fp32"] == {"gops": pytest.approx(1), "cpu_ms": pytest.approx(100)}
    assert found["floors"]["int8"] == {"gops": pytest.approx(4), "cpu_ms": pytest.approx(25)}
    assert eager["of_peak"] == pytest.approx(1)
    assert ours["of_peak"] == pytest.approx(1)


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(UsageError, match="try ViT-B-32"):
        make_tower("ViT-Z-99")


@pytest.mark.slow
def test_operations_of_the_tower_are_all_counted() -> None:
    """By hand: 12 layers of 50 tokens, 7.08 M weights each, attention, and the patches."""
    layers = 12 * 50 * (768 * 4 * 768 + 2 * 768 * 3072)
    attention = 12 * 2 * 50 * 50 * 768
    patches = 49 * 3 * 32 * 32 * 768
    by_hand = 2 * (layers + attention + patches + 768 * 512)
    assert make_tower("ViT-B-32").flops == pytest.approx(by_hand, rel=0.02)


@pytest.mark.slow
def test_the_whole_on_a_small_tower(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))
    arguments = ["--tower", "ViT-S-32-alt", "--batch", "2", "--rounds", "3", "--no-compile"]
    done = CliRunner().invoke(export, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["weights"] == "random"
    rows = record["batches"][0]["rows"]
    assert {"PyTorch eager", "ONNX Runtime fp32"} <= set(rows)
    assert all(row["cpu_ms"] > 0 for row in rows.values())
    assert "left out on request" in record["left_out"]["torch.compile"]
