"""What came out, as a table in Markdown, and which of the expectations it meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgesafe.samples.twin.pictures import TWIN_KINDS

__all__ = ["Target", "markdown", "targets_of"]

_HEAD = {
    "orig": "with its markers",
    "erased": "markers erased",
    "conflict": "board moved",
    "erased_moved": "moved, erased",
    "noboard": "no board",
    "scattered": "no board, strewn markers",
}


@dataclass(frozen=True)
class Target:
    """An expectation.

    Attributes:
        text: What is expected.
        value: What was measured, 0..1.
        met: Whether it came out.
    """

    text: str
    value: float
    met: bool

    def line(self) -> str:
        """For a person."""
        return f"{'met   ' if self.met else 'MISSED'} {self.text}: {100 * self.value:.1f} %"


def targets_of(networks: Mapping[str, Any]) -> list[Target]:
    """Compare the audited networks, by name, with what they are to show; absent ones are left out.

    The lessons: a network trained with its board is worth nothing without it, nor is one from
    whose training images the ink was erased; the cure is judged with the vote head.
    """
    found = []

    def expect(name: str, kind: str, bound: float, *, least: bool, kept: bool = False) -> None:
        if name not in networks:
            return
        figures = networks[name]["sets"][kind]
        value = figures["kept" if kept else "accuracy"]["value"]
        value = 0.0 if value is None else float(value)
        what = f"keeps of its accuracy on {kind}" if kept else f"is right on {kind}"
        text = f"{name} {what} {'at least' if least else 'at most'} {100 * bound:.0f} %"
        found.append(Target(text, value, value >= bound if least else value <= bound))

    for head in ("vote", "direct"):
        expect(f"{head} biased", "orig", 0.70, least=True)
        expect(f"{head} biased", "noboard", 0.05, least=False)
        expect(f"{head} erase-only", "erased", 0.70, least=True)
        expect(f"{head} erase-only", "noboard", 0.10, least=False)
    expect("vote cured", "noboard", 0.60, least=True)
    expect("vote cured", "noboard", 0.85, least=True, kept=True)
    return found


def markdown(networks: Mapping[str, Any]) -> str:
    """Return the table: accuracy in % on each set, with the lowest and highest seed."""
    heads = [_HEAD[kind] for kind in TWIN_KINDS]
    lines = [
        f"| network | {' | '.join(heads)} | kept without a board | pose shift when erased "
        "| saliency on markers (lift) |",
        "|---|" + "---|" * (len(heads) + 3),
    ]
    for name, one in networks.items():
        cells = [_accuracy(one["sets"][kind]) for kind in TWIN_KINDS]
        kept = one["sets"]["noboard"]["kept"]["value"]
        shift = one["pose_shift"]["erased"]["rotation_deg"]["value"]
        scores = one["saliency"].get("orig", {}).get("gradient")
        cells.append("-" if kept is None else f"{kept:.2f}")
        cells.append("-" if shift is None else f"{shift:.1f}°")
        cells.append(_saliency(scores))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _accuracy(figures: Mapping[str, Any]) -> str:
    seeds = [100 * value for value in figures["by_seed"]]
    text = f"{100 * figures['accuracy']['value']:.1f}"
    return text if len(seeds) < 2 else f"{text} ({min(seeds):.0f}-{max(seeds):.0f})"


def _saliency(scores: Mapping[str, Any] | None) -> str:
    if scores is None or scores["marker_mass"]["value"] is None:
        return "-"
    return f"{scores['marker_mass']['value']:.3f} ({scores['marker_lift']['value']:.2f})"
