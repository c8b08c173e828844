"""SPDX identifiers of licences that people write in their own ways.

A bill of materials is read by programs, which know identifiers. Only a text that is nothing but
the name of a licence becomes one: "CC BY 4.0, but ask us first" is no CC-BY-4.0.
"""

from __future__ import annotations

import re

__all__ = ["spdx_id"]

_KNOWN = {
    "AGPL-3.0-only", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "GPL-3.0-only",
    "ISC", "LGPL-3.0-only", "MIT", "MPL-2.0", "Unlicense",
}  # fmt: skip
_OTHER_NAMES = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "cc0": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "mit license": "MIT",
    "the mit license": "MIT",
}
# All of these versions of all of these licences are on SPDX's list.
_CREATIVE_COMMONS = re.compile(
    r"(?:CC|Creative Commons)[ -]BY((?:-NC)?(?:-SA|-ND)?)[ -]([123]\.0|2\.5|4\.0)"
    r"(?: International)?",
    re.IGNORECASE,
)


def spdx_id(text: str) -> str | None:
    """Return the identifier of a licence; None where the text is not the name of a known one."""
    text = " ".join(text.split())
    if text in _KNOWN:
        return text
    found = _CREATIVE_COMMONS.fullmatch(text)
    if found:
        return f"CC-BY{found[1].upper()}-{found[2]}"
    return _OTHER_NAMES.get(text.lower())
