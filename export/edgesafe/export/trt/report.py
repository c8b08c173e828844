"""What ``edgesafe export --trt`` and ``--verify-build`` print."""

from __future__ import annotations

from collections.abc import Sequence

from edgesafe.export.trt.settings import SM_OPTIONAL
from edgesafe.export.trt.verify import Verified

__all__ = ["verified_table"]


def verified_table(results: Sequence[Verified]) -> str:
    """One line per network and compute capability."""
    lines = []
    for result in results:
        parse = result.parse
        state = "parses" if parse.ok else "does NOT parse"
        lines.append(
            f"{result.network} ({result.precision}) {state} in TensorRT-RTX {parse.version}: "
            f"{parse.layers} layers, {parse.seconds:.1f} s"
        )
        lines += [f"  {error}" for error in parse.errors]
        for build in result.builds:
            if build.ok:
                size = f"{build.size / 1e6:.1f} MB"
                lines.append(f"  {build.sm:6} engine {size:>9}  {build.seconds:5.1f} s")
                continue
            verb = "refused, not required:" if build.sm in SM_OPTIONAL else "REFUSED:"
            where = f" node {build.node!r}:" if build.node else ""
            why = build.errors[0] if build.errors else "no reason was given"
            lines.append(f"  {build.sm:6} {verb}{where} {why}")
    return "\n".join(lines)
