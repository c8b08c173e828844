"""Sizes of open dimensions: what may be said, and what wins."""

from __future__ import annotations

import pytest

from edgesafe.export.trt.bundle import PreparedNetwork
from edgesafe.export.trt.device.profiles import Range, merge, parse_profile, shapes
from edgesafe.export.trt.settings import default_profile

GIVEN = {"image": {"batch": [1, 1, 8]}, "text": {"batch": [1, 1, 8], "tokens": [2, 16, 64]}}
LIMITS = {"image": {}, "text": {"tokens": 64}}


def test_an_option_for_one_network_goes_before_one_for_all() -> None:
    merged = merge(GIVEN, ["text.batch=2,3,4", "batch=1,4,16"], LIMITS)
    assert merged["image"]["batch"] == Range(1, 4, 16)
    assert merged["text"]["batch"] == Range(2, 3, 4)
    assert merged["text"]["tokens"] == Range(2, 16, 64)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("batch", "is not a profile"),
        ("batch=1,2", "is not a profile"),
        ("batch=1,2,x", "is not a profile"),
        ("batch=0,1,2", "must rise from 1"),
        ("batch=4,2,8", "must rise from 1"),
        ("height=1,2,3", "no network has a dimension height"),
        ("image.tokens=1,2,3", "image.tokens: there are image.batch, text.batch, text.tokens"),
        ("tokens=1,2,65", "text.tokens is at most 64"),
    ],
)
def test_wrong_profiles(option: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        merge(GIVEN, [option], LIMITS)


def test_parse() -> None:
    assert parse_profile("roi-1.batch=1,2,3") == ("roi-1", "batch", Range(1, 2, 3))


def test_shapes() -> None:
    profile = {"batch": Range(1, 2, 3), "tokens": Range(4, 5, 6)}
    assert shapes(["batch", 3, "tokens"], profile) == ((1, 3, 4), (2, 3, 5), (3, 3, 6))


def test_default_profiles(prepared: dict[str, PreparedNetwork]) -> None:
    assert default_profile(prepared["image"].network) == {"batch": (1, 1, 8)}
    text = default_profile(prepared["text"].network)
    # The tiny encoder takes twelve tokens at most.
    assert text == {"batch": (1, 1, 8), "tokens": (2, 12, 12)}
