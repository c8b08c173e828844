from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesafe.runtime import Moderator, UsageError
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.package import read_package
from edgesafe.runtime.tokenizer import MAX_CHARACTERS, BadText, TextTokenizer


@pytest.fixture(scope="module")
def moderator(tiny_package: Path) -> Moderator:
    return Moderator.load(tiny_package, backend="cpu")


@pytest.fixture(scope="module")
def tokenizer(tiny_package: Path) -> TextTokenizer:
    package = read_package(tiny_package)
    assert package.manifest.text is not None
    return TextTokenizer(package.files["tokenizer.json"], package.manifest.text, "tokenizer.json")


@pytest.mark.parametrize(
    ("text", "decision"), [("a photo of a dog", "safe"), ("A photo of the KNIFE", "unsafe")]
)
def test_texts_are_judged(moderator: Moderator, text: str, decision: str) -> None:
    verdict = moderator.check_text(text)
    assert verdict.decision == decision
    assert verdict.modality == "text"
    assert verdict.threshold == 0.5
    assert verdict.ms.infer > 0


@pytest.mark.parametrize("at", [0, 11, 50, 199])
def test_nothing_hides_behind_a_long_text(moderator: Moderator, at: int) -> None:
    words = ["dog"] * 200
    assert moderator.check_text(" ".join(words)).decision == "safe"
    words[at] = "knife"
    assert moderator.check_text(" ".join(words)).decision == "unsafe"


@pytest.mark.parametrize("word", ["[SEP]", "[PAD]", "[CLS]"])
def test_a_text_cannot_spell_special_tokens(tokenizer: TextTokenizer, word: str) -> None:
    (window,) = tokenizer.windows(f"a photo of the dog {word}")
    assert window[0] == 2
    assert window[-1] == 3
    assert not {0, 2, 3} & set(window[1:-1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_text"),
        (" \n\t ", "empty_text"),
        ("\ud800", "bad_text"),
        ("xyzzy quux", "unknown_text"),
        ("a dog " * 10 + "xyzzy " * 30, "unknown_text"),
        ("a" * (MAX_CHARACTERS + 1), "text_too_long"),
    ],
)
def test_texts_that_cannot_be_judged_are_undecided(
    moderator: Moderator, text: str, reason: str
) -> None:
    verdict = moderator.check_text(text)
    assert (verdict.decision, verdict.reason) == ("undecided", reason)


@pytest.mark.parametrize("text", [None, b"a dog", 3, ["a dog"]])
def test_only_a_str_is_a_text(moderator: Moderator, text: Any) -> None:
    with pytest.raises(UsageError, match="takes a str"):
        moderator.check_text(text)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 12, 30, 31])
def test_windows_cover_every_token_and_overlap(tokenizer: TextTokenizer, count: int) -> None:
    body = [4 + index % 7 for index in range(count)]
    words = ["a", "photo", "of", "dog", "knife", "and", "the"]
    windows = tokenizer.windows(" ".join(words[index % 7] for index in range(count)))
    assert all(len(window) <= 12 and window[0] == 2 and window[-1] == 3 for window in windows)
    parts = [window[1:-1] for window in windows]
    rebuilt = parts[0]
    for part in parts[1:]:
        assert rebuilt[-2:] == part[:2]
        rebuilt = rebuilt + part[2:]
    assert rebuilt == body


def test_batches_are_padded_and_masked(tokenizer: TextTokenizer) -> None:
    ids, mask = tokenizer.batch([[2, 4, 3], [2, 4, 5, 6, 3]])
    assert ids.tolist() == [[2, 4, 3, 0, 0], [2, 4, 5, 6, 3]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == "int64"


def test_a_broken_tokenizer_file_is_a_package_error(tiny_package: Path) -> None:
    spec = read_package(tiny_package).manifest.text
    assert spec is not None
    with pytest.raises(PackageError, match="not a tokenizer file"):
        TextTokenizer(b"{}", spec, "tokenizer.json")


def test_bad_text_carries_its_code(tokenizer: TextTokenizer) -> None:
    with pytest.raises(BadText) as caught:
        tokenizer.windows("")
    assert caught.value.code == "empty_text"
