"""SPDX identifiers of licences that people write in their own ways.

A bill of materials is read by programs, which know identifiers. Only a text that is nothing but
the name of a licence becomes one: "CC BY 4.0, but ask us first" is no CC-BY-4.0.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata
from typing import Any

__all__ = ["cyclonedx_licence", "cyclonedx_licences", "spdx_id"]

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
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "the mit license": "MIT",
}
# All of these versions of all of these licences are on SPDX's list.
_CREATIVE_COMMONS = re.compile(
    r"(?:CC|Creative Commons)[ -]BY((?:-NC)?(?:-SA|-ND)?)[ -]([123]\.0|2\.5|4\.0)"
    r"(?: International)?",
    re.IGNORECASE,
)


_CLASSIFIER = "License :: "
_NO_LICENCE = {"", "UNKNOWN", "OSI Approved"}  # the last is what some licences stand below


def spdx_id(text: str) -> str | None:
    """Return the identifier of a licence; None where the text is not the name of a known one."""
    text = " ".join(text.split())
    if text in _KNOWN:
        return text
    found = _CREATIVE_COMMONS.fullmatch(text)
    if found:
        return f"CC-BY{found[1].upper()}-{found[2]}"
    return _OTHER_NAMES.get(text.lower())


def cyclonedx_licence(text: str) -> dict[str, Any]:
    """Return an entry of CycloneDX's ``licenses``: by identifier, else by name."""
    known = spdx_id(text)
    return {"license": {"name": text} if known is None else {"id": known}}


def cyclonedx_licences(metadata: PackageMetadata) -> list[dict[str, Any]]:
    """Return ``licenses`` of CycloneDX for an installed distribution; empty where it names none.

    Its licence expression (PEP 639) counts before its field ``License``, where that is a name and
    not the text of a licence, and this before its classifiers, unless only these have identifiers.
    """
    (expression, *_), (field, *_) = (
        [text.strip() for text in metadata.get_all(name) or ("",)]
        for name in ("License-Expression", "License")
    )
    if expression:
        known = spdx_id(expression) is not None
        return [cyclonedx_licence(expression) if known else {"expression": expression}]
    named = [] if field in _NO_LICENCE or "\n" in field else [field]
    classified = [
        name
        for entry in metadata.get_all("Classifier") or ()
        if entry.startswith(_CLASSIFIER)
        and (name := entry.rpartition(" :: ")[2]) not in _NO_LICENCE
    ]
    candidates = [names for names in (named, classified) if names]
    identified = [names for names in candidates if all(map(spdx_id, names))]
    chosen: list[str] = next(iter([*identified, *candidates]), [])
    return [cyclonedx_licence(name) for name in chosen]
