"""Shapes: which sizes an engine is built for, and which it is built best for.

Only two dimensions are open: the batch, and the length of a text. A profile gives each its
smallest, usual and largest size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Range", "merge", "parse_profile", "shapes"]

_OPTION = re.compile(r"(?:([A-Za-z0-9_-]+)\.)?([A-Za-z_]\w*)=(\d+),(\d+),(\d+)")


class Range(NamedTuple):
    """Sizes of one dimension, in this order."""

    min: int
    opt: int
    max: int


def parse_profile(text: str) -> tuple[str, str, Range]:
    """Read ``NAME=min,opt,max`` or ``NETWORK.NAME=min,opt,max``.

    Returns:
        The network (empty for all), the name of the dimension, and its sizes.

    Raises:
        ValueError: It is not of this form, or the sizes do not rise from 1.
    """
    found = _OPTION.fullmatch(text)
    if not found:
        raise ValueError(
            f"{text!r} is not a profile: write NAME=min,opt,max, e.g. batch=1,4,16, or "
            "NETWORK.NAME=min,opt,max"
        )
    sizes = Range(*(int(found[i]) for i in (3, 4, 5)))
    if not 1 <= sizes.min <= sizes.opt <= sizes.max:
        raise ValueError(f"the profile {text!r} must rise from 1: 1 <= min <= opt <= max")
    return found[1] or "", found[2], sizes


def merge(
    profiles: Mapping[str, Mapping[str, Sequence[int]]],
    options: Sequence[str],
    limits: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, Range]]:
    """Put options over given profiles; an option that names a network goes before one for all.

    Args:
        profiles: Network to dimension to its sizes.
        options: As for :func:`parse_profile`.
        limits: Network to dimension to the largest size that it may take.

    Raises:
        ValueError: An option is not valid, names nothing that is there, or goes over a limit.
    """
    merged = {
        network: {name: Range(*sizes) for name, sizes in axes.items()}
        for network, axes in profiles.items()
    }
    for network, name, sizes in sorted(map(parse_profile, options), key=lambda found: found[0]):
        targets = [key for key in merged if name in merged[key] and network in ("", key)]
        if not targets:
            known = sorted({f"{key}.{axis}" for key, axes in merged.items() for axis in axes})
            raise ValueError(
                f"no network has a dimension {network + '.' if network else ''}{name}: there are "
                f"{', '.join(known) or 'none'}"
            )
        for key in targets:
            largest = limits.get(key, {}).get(name)
            if largest is not None and sizes.max > largest:
                raise ValueError(f"{key}.{name} is at most {largest}, not {sizes.max}")
            merged[key][name] = sizes
    return merged


def shapes(
    shape: Sequence[int | str], profile: Mapping[str, Range]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the smallest, usual and largest shape of an input with named open dimensions."""

    def sized(index: int) -> tuple[int, ...]:
        return tuple(profile[d][index] if isinstance(d, str) else d for d in shape)

    return sized(0), sized(1), sized(2)
