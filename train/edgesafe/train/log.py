"""What a run tells while it goes: a progress bar, ``metrics.jsonl`` and TensorBoard events."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from edgesafe.runtime.files import atomic_write

METRICS = "metrics.jsonl"


class RunLog:
    """Writes the log of one run; the processes other than the first write nothing.

    Args:
        folder: The run's folder; None writes no file.
        total: Optimiser steps of the whole run; None where that is not known.
        step: Steps already done; lines of later steps, left by a run that was cut off after its
            last saved state, are removed.
        tensorboard: Whether to write events.
        progress: Whether to tell on stderr how it goes; the bar shows on a terminal only.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        total: int | None,
        step: int = 0,
        tensorboard: bool = True,
        progress: bool = True,
    ) -> None:
        """Opens the files."""
        from tqdm import tqdm

        self._tells = progress and folder is not None
        self._file = None
        self._writer: Any = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _cut(folder / METRICS, step)
            self._file = open(folder / METRICS, "a", encoding="utf-8")
            if tensorboard:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            file=sys.stderr,
            disable=None if self._tells else True,
            dynamic_ncols=True,
        )

    def advance(self) -> None:
        """One optimiser step is done."""
        self._bar.update(1)

    def write(self, kind: str, step: int, values: Mapping[str, float], **extra: Any) -> None:
        """Writes one line.

        Args:
            kind: ``train`` or ``validation``.
            step: Optimiser steps done.
            values: Numbers by name; they go to TensorBoard too.
            extra: Further fields of the line.
        """
        if self._file is None:
            return
        line = {"kind": kind, "step": step, **extra, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)
        if kind == "train":
            self._bar.set_postfix_str(f"loss {values['loss']:.4f}")

    def picture(self, name: str, step: int, rgb: npt.NDArray[np.uint8]) -> None:
        """Shows a picture (H, W, 3) in TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, rgb, step, dataformats="HWC")

    def say(self, message: str) -> None:
        """Prints a line for a person, above the progress bar."""
        if self._tells:
            self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """Closes the files."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()


def _cut(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a run that was cut off while writing
    atomic_write(path, "".join(kept).encode())


class Mean:
    """Running means of named scalars, kept on the device so that nothing waits for it."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds one value per name."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def values(self) -> dict[str, Tensor]:
        """The means so far."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}
