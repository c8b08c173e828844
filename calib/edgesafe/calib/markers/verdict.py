"""What an audit says, in one sentence per network."""

from __future__ import annotations

from typing import Literal, NamedTuple

from edgesafe.calib.markers.audit import NetworkAudit

__all__ = ["Verdict", "judge_network"]

Code = Literal["too_inaccurate", "reads_markers", "needs_board", "no_board_free_set", "no_reliance"]

# Below this accuracy on its own frames there is little to lose.
_LEAST_ACCURACY = 0.2
# A gap, beyond that of the control, that cannot be an accident.
_GAP = 0.05
_LANDS = 0.05
# Share of the accuracy that must be kept without a board.
_KEPT = 0.85


class Verdict(NamedTuple):
    """A code for programs, a sentence for people."""

    code: Code
    sentence: str


def judge_network(found: NetworkAudit) -> Verdict:
    """Say whether a network reads the markers, by its interventions alone; never by saliency."""
    accuracy, name = found.accuracy, found.name
    right = accuracy["orig"].value
    if right < _LEAST_ACCURACY:
        return Verdict(
            "too_inaccurate",
            f"{name} is right in {_per_cent(right)} of its own frames only, too few to tell what "
            "it reads.",
        )
    gap = found.net_gap or found.gap
    proofs = []
    if gap is not None and gap.low > _GAP:
        than = "more than by painting elsewhere" if found.net_gap else "of all poses"
        proofs.append(f"erasing the markers costs {_points(gap.value)} {than}")
    for kind, follow in found.follow.items():
        if follow.lands.n and follow.lands.low > _LANDS:
            what = "moved" if kind == "conflict" else "another frame's"
            proofs.append(
                f"{_per_cent(follow.lands.value)} of its poses go where {what} markers tell"
            )
    without = found.kept.get("noboard")
    if proofs:
        rest = "" if without is None else f"; without a board it keeps {_kept(found)}"
        return Verdict("reads_markers", f"{name} reads the markers: {', '.join(proofs)}{rest}.")
    if without is None:
        return Verdict(
            "no_board_free_set",
            f"No reliance of {name} on the markers' ink was found, which does not show that it "
            "works without a board: audit it on a set noboard.",
        )
    if not without.low >= _KEPT:
        return Verdict(
            "needs_board" if without.high < _KEPT else "no_board_free_set",
            f"{name} does not need the markers' ink, but without a board it keeps {_kept(found)}: "
            + (
                "it needs the board or its surroundings."
                if without.high < _KEPT
                else "the frames are too few to say whether it works there."
            ),
        )
    return Verdict(
        "no_reliance",
        f"{name} does not read the markers: without a board it keeps {_kept(found)}.",
    )


def _kept(found: NetworkAudit) -> str:
    kept, right = found.kept["noboard"], found.accuracy["noboard"]
    return (
        f"{_per_cent(kept.value)} of its accuracy ({_per_cent(right.value)} right, "
        f"{100 * right.low:.0f} to {100 * right.high:.0f})"
    )


def _per_cent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _points(value: float) -> str:
    return f"{100 * value:.0f} points of accuracy"
