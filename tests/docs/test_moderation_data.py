"""docs/moderation-data.md names every source, tag, style and split that the code uses."""

from __future__ import annotations

import re
from pathlib import Path

from edgesafe.samples import heldout
from edgesafe.samples.hazards import catalogue, fetch, restyle, sampler

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "moderation-data.md").read_text(encoding="utf-8")
SOURCES = PAGE.partition("## Sources and their licences")[2]


def named(kind: str) -> set[str]:
    """Packages of the rows of one registry."""
    rows = re.findall(rf"^\| {kind} (.+?) \|", SOURCES, re.M)
    return {n.rpartition("/")[2] for row in rows for n in re.findall(r"`([^`]+)`", row)}


def test_every_package_is_named_with_a_licence_and_no_other() -> None:
    packs = {*catalogue.COLOUR_PACKS, *catalogue.SILHOUETTE_PACKS, *catalogue.SIGN_PACKS}
    assert named("npm") == packs
    debian = {fetch._CLIPART[0], fetch._STAMPS[0], *fetch._PHOTO_PACKAGES}
    assert named("Debian") == debian
    for row in re.findall(r"^\| (?:npm|Debian|PyPI) .*$", SOURCES, re.M):
        assert len(row.strip("|").split("|")) == 3 and row.strip("|").split("|")[2].strip(), row


def test_every_package_of_the_extra_is_named_or_is_code() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extra = text.partition("\nsamples = [")[2].partition("]\n")[0]
    wanted = set(re.findall(r'"([a-z0-9_-]+)>=', extra))
    assert wanted - named("PyPI") == {"resvg_py", "scikit-learn"}


def test_tags_and_styles_are_those_of_the_code() -> None:
    first = PAGE.partition("\n## ")[0]
    assert [tag for tag in catalogue.TAGS if f"`{tag}`" not in first] == []
    assert ", ".join(heldout.STYLES) in PAGE
    for style in sampler.VAL_STYLES:
        assert f"`{style}`" in PAGE
    assert ", ".join(restyle.PAINTERS) in PAGE
    assert ", ".join(restyle.FILTERS) in PAGE.replace("\n", " ")
