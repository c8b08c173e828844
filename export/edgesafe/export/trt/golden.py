"""Golden inputs of a bundle with their answers, for an engine to be compared with.

The answers are those of ONNX Runtime on the very graph that the engine is built from. So the
tolerance is that of another arithmetic on the same graph: what its precision costs was measured
when the package was made.
"""

from __future__ import annotations

import io

import numpy as np

from edgesafe.export.trt.networks import Network
from edgesafe.runtime.errors import ExportError
from edgesafe.runtime.sessions import open_session

__all__ = ["TOLERANCES", "golden_archive"]

TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2, "int8": 5e-2}
"""Precision to the largest length of a difference over the length of the answer, per row.

Without TF32 float32 differs in the order of its sums. In half precision that of every sum is
rounded; and an int8 activation that lands on the other side of a half is a whole step away.
"""


def golden_archive(network: Network, function: bytes) -> tuple[bytes, dict[str, float]]:
    """Compute the answers to the golden inputs of a network.

    Args:
        network: Its golden inputs are used.
        function: The function variant of its graph.

    Returns:
        An ``.npz`` file of ``in:NAME:INDEX`` and ``out:NAME:INDEX``, and the tolerance of each
        output.

    Raises:
        ExportError: The package has no golden inputs, or an answer is not finite.
    """
    if not network.golden:
        raise ExportError(f"the package has no golden pair for {network.name}: export it again")
    # Not the integer kernels of the CPU: a GPU rounds as the graph is written.
    session = open_session(function, backend="cpu", threads=1, where=network.name)
    arrays = {}
    for index, feed in enumerate(network.golden):
        answers = session.run(network.outputs, feed)
        if not all(np.isfinite(answer).all() for answer in answers):
            raise ExportError(
                f"the network {network.name} does not answer its golden input {index}"
            )
        arrays.update({f"in:{name}:{index}": value for name, value in feed.items()})
        named = zip(network.outputs, answers, strict=True)
        arrays.update({f"out:{name}:{index}": value for name, value in named})
    stream = io.BytesIO()
    # np.savez takes names as keywords only, which its stub knows as allow_pickle and so on.
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue(), dict.fromkeys(network.outputs, TOLERANCES[network.precision])
