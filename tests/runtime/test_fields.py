"""Fields: every complaint says where, and ends with the remedy of whoever reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.fields import Fields, parse_json

BAD: dict[str, Callable[[Fields], object]] = {
    "a.json: gone is missing": lambda f: f.get("gone"),
    "a.json.part: n must be a finite number in 0..1, not 7.0": (
        lambda f: f.fields("part").number("n", 0, 1)
    ),
    "a.json: row must be a number, not str 'x'": lambda f: f.numbers("row", 0, 9),
    "a.json: row must be an object, not list [1, 'x']": lambda f: Fields(
        f.get("row"), f"{f.where}: row", f.mend
    ),
}


def message(read: Callable[[], object]) -> str:
    with pytest.raises(PackageError) as error:
        read()
    return str(error.value)


@pytest.mark.parametrize("problem", BAD)
def test_a_value_is_refused_with_the_readers_remedy(problem: str) -> None:
    data = b'{"part": {"n": 7}, "row": [1, "x"]}'
    read = BAD[problem]
    assert message(lambda: read(parse_json(data, "a.json"))) == problem
    assert message(lambda: read(parse_json(data, "a.json", ""))) == problem
    assert message(lambda: read(parse_json(data, "a.json", "write it"))) == f"{problem}: write it"


def test_unknown_keys() -> None:
    problem = "a.json has unknown keys ['b']"
    usual = "the package was made for another version of edgesafe or was edited"
    assert message(lambda: parse_json(b'{"b": 1}', "a.json").only("a")) == f"{problem}: {usual}"
    own = message(lambda: parse_json(b'{"b": 1}', "a.json", "write it").only("a"))
    assert own == f"{problem}: write it"


def test_what_is_no_json() -> None:
    assert message(lambda: parse_json(b"{", "a.json")).endswith(
        "): fetch or export the package again"
    )
    assert message(lambda: parse_json(b"{", "a.json", "write it")).endswith("): write it")
    assert message(lambda: parse_json(b"{", "a.json", "")).endswith("(char 1))")
