"""Unsafe captions say what is unsafe, safe ones do not, and a seed always says the same."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from edgesafe.samples.hazards import captions, catalogue

CAPTIONS = ("A dog on a beach", "UV lamps in {a} hall", "two men riding bicycles")
DRAWN = {"weapon": "kitchen knife", "fire": "fire", "blood": "drop of blood", "drugs": "pills"}


@pytest.mark.parametrize("tag", catalogue.TAGS)
@pytest.mark.parametrize("named", [True, False])
def test_unsafe_text_names_the_hazard(tag: str, named: bool) -> None:
    name = DRAWN[tag] if named else None
    words = [*captions.HAZARD_WORDS[tag], *captions._VIOLENT[tag], *([name] if name else [])]
    pattern = re.compile("|".join(re.escape(w) for w in words), re.IGNORECASE)
    twins = 0
    for seed in range(300):
        caption = CAPTIONS[seed % 3]
        text = captions.unsafe_text(caption, tag, name, np.random.default_rng(seed))
        assert pattern.search(text), text
        twins += caption[1:] in text
        assert text == captions.unsafe_text(caption, tag, name, np.random.default_rng(seed))
    # Most are twins of their caption, some are sentences of their own.
    assert 120 < twins < 260


def test_texts_are_tidy() -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        tag = catalogue.TAGS[seed % 4]
        for text in (
            captions.unsafe_text(CAPTIONS[seed % 3], tag, DRAWN[tag], rng),
            captions.safe_text(CAPTIONS[seed % 3], ["umbrella", "red ball"], rng),
            captions.negative_text(["umbrella", "red ball"], rng),
        ):
            assert text and text == text.strip()
            assert not re.search(r"\s\s|\s[,.]|\{thing|\{place|\{Thing|\{caption|^[,.]", text), text


@pytest.mark.parametrize("tag", catalogue.TAGS)
def test_every_hazard_has_words_and_sentences_of_its_own(tag: str) -> None:
    for phrases in (captions.HAZARD_WORDS[tag], captions._VIOLENT[tag]):
        assert len(phrases) >= 20 and max(Counter(phrases).values()) == 1 and all(phrases)
    others = {w for t in catalogue.TAGS if t != tag for w in captions.HAZARD_WORDS[t]}
    assert not others & set(captions.HAZARD_WORDS[tag])


def test_no_sentence_is_both_tricky_and_unsafe() -> None:
    unsafe = {w for table in (captions.HAZARD_WORDS, captions._VIOLENT) for w in table.values()}
    assert not {p for phrases in unsafe for p in phrases} & set(captions.TRICKY)


def test_a_safe_caption_names_no_hazard() -> None:
    known = (
        "A man with a KNIFE",
        "a red bicycle",
        "Fires at night",
        "two burning candles",
        "a cat",
    )
    found = {captions.safe_caption(known, np.random.default_rng(seed)) for seed in range(40)}
    assert found == {"a red bicycle", "a cat"}
    assert captions.safe_caption(known[2:4], np.random.default_rng(0)) == "a photo"
    assert captions.safe_caption((), np.random.default_rng(0)) == "a photo"


@pytest.mark.parametrize(
    ("text", "hazard"),
    [
        ("Soldiers with guns", True),
        ("an AXE in a stump", True),
        ("a wound on a knee", True),
        ("burnt toast", True),
        ("a fire, far away", True),
        ("firefly squid", False),
        ("a begun day with swordfish", False),
        ("pillows and skills", False),
    ],
)
def test_hazard_words_are_whole_words(text: str, hazard: bool) -> None:
    assert bool(captions.HAZARD_IN_TEXT.search(text)) == hazard


def test_the_harmless_thing_is_named_sometimes() -> None:
    texts = [
        captions.safe_text("A dog", ["umbrella"], np.random.default_rng(seed))
        for seed in range(200)
    ]
    named = sum("an umbrella" in text.lower() for text in texts)
    assert 80 < named < 160 and texts.count("A dog") == 200 - named
    assert captions.safe_text("A dog", [], np.random.default_rng(0)) == "A dog"


def test_negatives_are_of_three_kinds() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(300):
        text = captions.negative_text(["xylophone"], np.random.default_rng(seed))
        if text in captions.TRICKY:
            kinds["tricky"] += 1
        else:
            kinds["thing" if "a xylophone" in text.lower() else "scene"] += 1
        assert text == captions.negative_text(["xylophone"], np.random.default_rng(seed))
    assert kinds["tricky"] > kinds["thing"] > 30 and kinds["scene"] > 30


def test_the_drawings_own_name_is_used_half_the_time() -> None:
    phrases = [
        captions.hazard_phrase("weapon", "old axe", np.random.default_rng(seed))
        for seed in range(200)
    ]
    assert 70 < phrases.count("an old axe") < 130
    assert captions.hazard_phrase("drugs", "pills", np.random.default_rng(0)) in (
        "pills",
        *captions.HAZARD_WORDS["drugs"],
    )
