"""The measuring tools on things of known cost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgesafe.calib import machine, measure
from edgesafe.runtime.errors import EdgesafeError, SourceError
from edgesafe.runtime.verdict import Timings, Verdict


def verdict(ms: Timings) -> Verdict:
    return Verdict.undecided("probe", modality="text", package="p@1", ms=ms)


def test_latency_counts_wall_and_cpu_apart() -> None:
    calls: list[str] = []

    def check(item: str) -> Verdict:
        calls.append(item)
        if item == "sleep":
            time.sleep(0.02)
        else:
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
        return verdict(Timings(decode=1.0, preprocess=2.0, infer=3.0, post=4.0))

    asleep = measure.latency(check, ["sleep"], runs=4)
    busy = measure.latency(check, ["work"], runs=4)
    assert asleep.stages["total"]["p50"] >= 20
    assert asleep.cpu["mean"] < 10 <= busy.cpu["mean"]
    assert asleep.stages["infer"] == {"p50": 3.0, "p99": 3.0}
    assert asleep.decisions == {"safe": 0, "unsafe": 0, "undecided": 4}
    # The warm-up is on top of the runs.
    assert calls.count("sleep") > 4


def test_latency_takes_the_inputs_in_turn() -> None:
    seen: list[int] = []

    def check(item: int) -> Verdict:
        seen.append(item)
        return verdict(Timings())

    measure.latency(check, [0, 1, 2], runs=7)
    assert seen == [i % 3 for i in range(len(seen))]


def test_theil_sen_ignores_an_outlier() -> None:
    points = [(float(i), 5.0 + 0.25 * i) for i in range(40)]
    assert measure.theil_sen(points) == pytest.approx(0.25)
    points[7] = (7.0, 1e6)
    assert measure.theil_sen(points) == pytest.approx(0.25, abs=1e-9)
    assert measure.theil_sen([(1.0, 2.0), (1.0, 3.0)]) == 0.0


def test_photo_paths_are_the_images_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.webp", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    assert [p.name for p in measure.photo_paths(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


def test_photo_paths_refuse_a_missing_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a folder"):
        measure.photo_paths(tmp_path / "absent")
    with pytest.raises(SourceError, match="holds no"):
        measure.photo_paths(tmp_path)


def test_a_failing_child_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    image = tmp_path / "x.jpg"
    image.touch()
    with pytest.raises(EdgesafeError, match="absent-package"):
        measure.cold_start(tmp_path / "absent-package", image, repeats=1)
    with pytest.raises(EdgesafeError, match="the memory run failed: .*absent-package"):
        measure.soak(tmp_path / "absent-package", tmp_path, 10)


def test_machine_facts_are_complete() -> None:
    facts = machine.machine_facts()
    assert facts["cores"] >= 1
    assert facts["libraries"]["numpy"] == np.__version__
    assert set(facts) >= {"processor", "memory_gib", "system", "python", "load_1min"}


def test_memory_figures_follow_an_allocation() -> None:
    before = machine.rss_mib()
    block = np.ones(8 * 2**20)  # 64 MiB, touched
    assert machine.rss_mib() > before + 50
    assert machine.peak_rss_mib() >= machine.rss_mib() - 1
    assert block[-1] == 1
