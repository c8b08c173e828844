"""CLIP's byte-pair tokeniser as a `tokenizers` file, so that a device needs neither torch nor ftfy.

open_clip cleans a text with ftfy and `html.unescape` before it splits it. What of that is a fixed
replacement is written into the file: NFC, quotes, ligatures, full-width characters, control
characters, terminal escapes, common HTML entities, lower case with the final sigma. The ids are
then equal to open_clip's. Two things cannot be expressed and differ: ftfy's repair of text decoded
with the wrong encoding, and rare HTML entities, which stay as they are typed. Training and device
read the same file, so they never differ from one another.
"""

from __future__ import annotations

from typing import Any

START, END = "<start_of_text>", "<end_of_text>"
PATTERN = (
    "<start_of_text>|<end_of_text>|'[s\u017f]|'t|'re|'ve|'m|'ll|'d|"
    "[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
)
ENTITIES = {
    "lt": "<",
    "gt": ">",
    "quot": '"',
    "#34": '"',
    "apos": "'",
    "#39": "'",
    "#x27": "'",
    "nbsp": " ",
    "#160": " ",
    "hellip": "…",
    "ndash": "–",
    "mdash": "—",
    "lsquo": "'",
    "rsquo": "'",
    "ldquo": '"',
    "rdquo": '"',
    "copy": "©",
    "reg": "®",
    "trade": "™",
    "deg": "°",
    "euro": "€",
    "eacute": "é",
    "egrave": "è",
    "agrave": "à",
    "ccedil": "ç",
    "ntilde": "ñ",
    "auml": "ä",
    "ouml": "ö",
    "uuml": "ü",
    "szlig": "ß",
}
LIGATURES = {
    "Ĳ": "IJ",
    "ĳ": "ij",
    "ŉ": "ʼn",
    "Ǆ": "DŽ",
    "ǅ": "Dž",
    "ǆ": "dž",
    "Ǉ": "LJ",
    "ǈ": "Lj",
    "ǉ": "lj",
    "Ǌ": "NJ",
    "ǋ": "Nj",
    "ǌ": "nj",
    "Ǳ": "DZ",
    "ǲ": "Dz",
    "ǳ": "dz",
    "ﬀ": "ff",
    "ﬁ": "fi",
    "ﬂ": "fl",
    "ﬃ": "ffi",
    "ﬄ": "ffl",
    "ﬅ": "ſt",
    "ﬆ": "st",
}
# C1 control codes are what Windows-1252 text looks like when it was read as Latin-1.
WINDOWS = {
    chr(code): bytes([code]).decode("cp1252")
    for code in range(0x80, 0xA0)
    if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
# Full-width forms of ASCII and the ideographic space; half-width Katakana are left as they are.
WIDE = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)} | {"\u3000": " "}


def clip_tokenizer_json(simple: Any) -> bytes:
    """Turns open_clip's tokeniser into a file.

    Args:
        simple: An `open_clip.tokenizer.SimpleTokenizer` that cleans with ``lower``.

    Returns:
        A `tokenizers` file without truncation and padding; its ids start with ``START`` and end
        with ``END``.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.BPE(
            vocab=simple.encoder,
            merges=list(simple.bpe_ranks),
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    )
    tokenizer.normalizer = _cleaning()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (START, simple.sot_token_id), (END, simple.eot_token_id)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[start, end]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, normalized=True, special=True) for name, _ in (start, end)]
    )
    return tokenizer.to_str().encode("utf-8")


def _cleaning() -> Any:
    from tokenizers import Regex
    from tokenizers.normalizers import NFC, Lowercase, Replace, Sequence

    steps: list[Any] = [
        # "&amp;lt;" is unescaped twice.
        Replace(Regex("&(amp;)+"), "&"),
        *(Replace(f"&{name};", text) for name, text in ENTITIES.items()),
        Replace("&amp;", "&"),
        Replace(Regex("\\x1b\\[[0-9;]*[a-zA-Z]"), ""),
        *(Replace(a, b) for a, b in WINDOWS.items()),
        *(Replace(a, b) for a, b in LIGATURES.items()),
        *(Replace(a, b) for a, b in WIDE.items()),
        Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
        Replace(Regex("[\u201c-\u201f]"), '"'),
        Replace(Regex("\r\n|[\r\u2028\u2029]"), "\n"),
        Replace(Regex("[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]"), ""),
        NFC(),
        Replace(Regex("(?<=\\p{L})\u03a3(?!\\p{L})"), "\u03c2"),
        Lowercase(),
    ]
    return Sequence(steps)
