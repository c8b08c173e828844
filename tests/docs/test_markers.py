"""docs/markers.md names every command, kind, fill, verdict and field, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from edgesafe.calib.markers.counterfactual import KINDS
from edgesafe.calib.markers.erase import FILLS
from edgesafe.calib.markers.markers_cmd import COMMANDS, markers
from edgesafe.calib.markers.oracle import ObjectOracle
from edgesafe.calib.markers.verdict import Code

PAGE = (Path(__file__).parents[2] / "docs" / "markers.md").read_text(encoding="utf-8")


def first_column(head: str) -> list[str]:
    """Code in the first column of the table under a head."""
    table = PAGE[PAGE.index(head) :].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_tables_are_those_of_the_code():
    assert first_column("| kind |") == list(KINDS)
    assert first_column("| `--fill` |") == list(FILLS)
    assert first_column("| verdict |") == list(get_args(Code))
    fields = ObjectOracle(1, 0, None, (), None, ()).to_json()
    assert sorted(first_column("| field of `--json`")) == sorted(fields)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_option_that_is_named_exists(name: str):
    assert f"edgesafe markers {name}" in PAGE
    command = markers.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    options = {opt for param in command.params for opt in param.opts}
    for line in re.findall(rf"edgesafe markers {name} [^`]*?(?:\n\n|```|`)", PAGE):
        used = set(re.findall(r"--[a-z][a-z-]+", line.split("edgesafe markers", 2)[1]))
        assert used <= options, (name, used - options)
