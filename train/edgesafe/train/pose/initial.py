"""Weights to start from, taken out of an earlier checkpoint."""

from __future__ import annotations

from torch import nn

from edgesafe.runtime.errors import CheckpointError
from edgesafe.train.pose.checkpoint import NetworkInfo, PoseCheckpoint

__all__ = ["start_from"]

_FREE = ("objects", "size")
"""Parts of an architecture that may differ: weights fit any size, and objects are matched."""
_PER_OBJECT = ("head.last.", "head.mask.", "heat.")
"""Starts of the names of weights with a row for each object."""


def start_from(network: nn.Module, info: NetworkInfo, initial: PoseCheckpoint) -> None:
    """Fills a network with the weights of one of the same kind that knew some of its objects.

    The weights that belong to an object are taken over by its id; an object that the checkpoint
    does not know keeps its initial ones.

    Args:
        network: The network to fill.
        info: Its description.
        initial: The checkpoint.

    Raises:
        CheckpointError: The checkpoint has no network of that kind and architecture.
    """
    known = set(info.objects)
    fitting = [i for i in initial.networks if i.kind == info.kind and known & set(i.objects)]
    if not fitting:
        raise CheckpointError(
            f"--init holds no {info.kind} network that knows one of {sorted(known)}."
        )
    source = max(fitting, key=lambda i: len(known & set(i.objects)))
    differing = sorted(
        key
        for key in info.architecture.keys() | source.architecture.keys()
        if key not in _FREE and info.architecture.get(key) != source.architecture.get(key)
    )
    if differing:
        raise CheckpointError(
            f"--init is another architecture: {', '.join(differing)} differ from the "
            "configuration's."
        )
    theirs = initial.state_of(source.name)
    own = network.state_dict()
    for name, value in own.items():
        found = theirs.get(name)
        if found is None:
            raise CheckpointError(f"--init lacks the weights {name!r}.")
        if name.startswith(_PER_OBJECT):
            for row, number in enumerate(info.objects):
                if number in source.objects:
                    value[row] = found[source.objects.index(number)]
        else:
            value.copy_(found)
