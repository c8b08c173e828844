"""A tiny CLIP, a tiny data set of coloured squares, and the configuration that trains one on it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

TINY_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    "quick_gelu": True,
}
SIZE = 40


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_architecture() -> Callable[[], dict[str, Any]]:
    """A fresh description of the tiny CLIP."""
    return lambda: {"name": "open_clip:tiny", "config": json.loads(json.dumps(TINY_CLIP))}


@pytest.fixture(scope="session")
def tiny_config(tiny_architecture: Callable[[], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A configuration as a plain table; keyword arguments replace single keys of its tables."""

    def make(**changes: dict[str, Any]) -> dict[str, Any]:
        table: dict[str, Any] = {
            "architecture": tiny_architecture(),
            "seed": 3,
            "lora": {"r": 4, "alpha": 4.0},
            "optimiser": {"lr": 1e-3},
            "train": {
                "epochs": 2,
                "batch_size": 4,
                "log_every": 1,
                "tensorboard": False,
                "patience": 0,
            },
            "data": {"workers": 0},
        }
        for name, values in changes.items():
            table[name] = {**table.get(name, {}), **values}
        return table

    return make


def write_records(folder: Path, name: str, count: int, *, negatives: bool = False) -> Path:
    """Pictures of grey squares and, as the unsafe side, the same with a red disc."""
    rng = np.random.default_rng(count)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        colours = rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)
        safe = Image.fromarray(colours).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        unsafe = safe.copy()
        x, y = (int(v) for v in rng.integers(0, SIZE // 2, 2))
        box = (x, y, x + SIZE // 2, y + SIZE // 2)
        ImageDraw.Draw(unsafe).ellipse(box, fill=(255, 20, 0))
        row = {
            "id": f"{name}{i}",
            "tag": "fire",
            "safe_image": f"images/{name}{i}_safe.png",
            "unsafe_image": f"images/{name}{i}_unsafe.png",
            "safe_text": f"a photo of thing {i}",
            "unsafe_text": f"thing {i} is on fire",
        }
        safe.save(folder / row["safe_image"])
        unsafe.save(folder / row["unsafe_image"])
        if negatives and i % 2:
            row["negative_image"] = f"images/{name}{i}_negative.png"
            row["negative_text"] = f"thing {i} is on a cushion"
            ImageDraw.Draw(safe).rectangle(box, fill=(20, 160, 0))
            safe.save(folder / row["negative_image"])
        rows.append(row)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def make_records() -> Callable[..., Path]:
    """See :func:`write_records`."""
    return write_records


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve records to train on and six to validate with; do not change it."""
    folder = tmp_path_factory.mktemp("quadruplets")
    write_records(folder, "train", 12, negatives=True)
    write_records(folder, "val", 6)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _in_two_processes(script: Path, job: Path) -> None:
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::FutureWarning", str(script), str(job)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)


@pytest.fixture(scope="session")
def in_two_processes() -> Callable[[Path, Path], None]:
    """Runs a script with a job file as two gloo processes; fails with their output."""
    return _in_two_processes
