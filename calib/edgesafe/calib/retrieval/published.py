"""Retrieval figures that the papers publish, for printing beside one's own.

All rows: Poppi et al., "Hyperbolic Safety-Aware Vision-Language Models" (CVPR 2025,
arXiv 2503.12127v1), tables 1 and 2: the test split of ViSU, 5000 quadruplets, R@1, R@10 and R@20 in
percent. Rows with ``(ViSU)`` are models that the authors trained on ViSU with a loss not made for
safety. Figures on other data are not comparable with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["SAFE_TARGETS", "SOURCE", "UNSAFE_TARGETS"]

Recalls: TypeAlias = tuple[float, float, float]

SOURCE = "HySAC, CVPR 2025, arXiv 2503.12127v1, tables 1 and 2: ViSU test, 5000 quadruplets"

SAFE_TARGETS: Mapping[str, Mapping[str, Recalls]] = {
    model: dict(zip(("T->I", "I->T", "T*->IuI*", "I*->TuT*"), row, strict=True))
    for model, row in {
        "CLIP": ((36.8, 71.6, 81.5), (39.8, 74.2, 83.5), (2.0, 24.8, 33.2), (4.6, 32.9, 40.6)),
        "MERU": ((14.9, 43.0, 54.2), (14.7, 42.3, 53.8), (2.2, 15.2, 21.5), (4.4, 22.6, 29.4)),
        "HyCoCLIP": ((34.3, 71.2, 80.6), (34.4, 71.3, 82.2), (2.8, 25.3, 33.2), (8.2, 37.8, 45.7)),
        "Safe-CLIP": (
            (45.9, 81.8, 89.7), (45.3, 82.3, 89.8), (8.0, 46.9, 58.0), (19.1, 62.9, 71.1)
        ),
        "MERU (ViSU)": (
            (50.0, 84.1, 91.1), (51.2, 85.3, 92.3), (2.3, 39.9, 49.4), (5.7, 47.9, 54.7)
        ),
        "HyCoCLIP (ViSU)": (
            (47.7, 81.9, 89.1), (46.7, 82.7, 90.4), (1.5, 32.7, 42.3), (6.9, 45.2, 53.6)
        ),
        "HySAC": (
            (49.8, 84.1, 90.7), (48.2, 84.2, 91.2), (30.5, 62.8, 71.8), (42.1, 73.3, 79.8)
        ),
    }.items()
}  # fmt: skip
"""Table 1: model -> task -> recalls. Of HySAC's queries those of the last two were redirected."""

UNSAFE_TARGETS: Mapping[str, Mapping[str, Recalls]] = {
    model: dict(zip(("T*->I*", "I*->T*", "T*->I*uI", "I*->T*uT"), row, strict=True))
    for model, row in {
        "CLIP": ((73.1, 94.9, 97.6), (72.8, 95.2, 97.7), (68.4, 92.3, 95.9), (67.1, 93.3, 96.7)),
        "MERU": ((29.4, 62.4, 72.2), (25.8, 57.7, 67.8), (23.5, 54.0, 64.3), (19.5, 51.1, 61.2)),
        "HyCoCLIP": (
            (69.5, 93.1, 95.8), (65.0, 91.1, 95.0), (63.7, 89.7, 93.7), (55.2, 88.0, 92.7)
        ),
        "Safe-CLIP": (
            (58.0, 86.2, 91.4), (56.0, 85.1, 91.0), (47.7, 80.0, 85.8), (32.1, 77.1, 84.6)
        ),
        "HySAC": (
            (81.4, 98.4, 99.4), (82.2, 97.8, 99.2), (81.1, 98.4, 99.4), (80.5, 97.2, 98.9)
        ),
    }.items()
}  # fmt: skip
"""Table 2: model -> task -> recalls. Nothing was redirected."""
