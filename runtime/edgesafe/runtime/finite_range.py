"""Numbers of the command line within a range, and numbers indeed."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["FiniteRange"]


class FiniteRange(click.FloatRange):
    """``click.FloatRange`` that refuses ``nan`` and ``inf`` as well.

    No comparison with NaN is true, so that ``click.FloatRange`` finds it to be beyond neither end.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail where it is none, not finite or out of range."""
        try:
            finite = math.isfinite(float(value))
        except (TypeError, ValueError):
            finite = True  # no number at all, which has a message of its own
        if not finite:
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return super().convert(value, param, ctx)
