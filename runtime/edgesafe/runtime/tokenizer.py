"""Text to token ids, without losing a word.

An encoder reads at most ``max_tokens`` tokens. A longer text is cut into windows that overlap by a
quarter, each with its own special tokens, and every window is judged: the worst verdict counts. To
judge the first window alone would let anything pass that hides behind a long introduction.

Special tokens spelled out in the text (``[SEP]``, ``<|endoftext|>``) are encoded as the plain
characters they are: a text must not be able to say where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import MissingExtraError, PackageError
from edgesafe.runtime.manifest_parts import TextEncoder

if TYPE_CHECKING:
    import tokenizers

__all__ = ["BadText", "TextTokenizer"]

MAX_CHARACTERS = 100_000

Ids = npt.NDArray[np.int64]


class BadText(Exception):
    """A text cannot be judged; ``code`` is the reason code of the verdict."""

    def __init__(self, code: str, detail: str) -> None:
        """Take the reason code and the words for a person."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TextTokenizer:
    """The tokenizer of one package.

    Args:
        data: The bytes of ``tokenizer.json``.
        encoder: The text encoder it belongs to.
        where: What to call the file in messages.

    Raises:
        MissingExtraError: ``tokenizers`` is not installed.
        PackageError: The file is not a usable tokenizer.
    """

    def __init__(self, data: bytes, encoder: TextEncoder, where: str) -> None:
        """Parse the file and find its special tokens."""
        self._encoder = encoder
        self._tokenizer = _load(data, where)
        # The tokens around every text, found with a probe.
        body = self._encode("a", special=False)
        whole = self._encode("a", special=True)
        added = len(whole) - len(body)
        starts = [i for i in range(added + 1) if whole[i : i + len(body)] == body]
        if not body or not starts or encoder.max_tokens - added < 2:
            raise PackageError(f"{where} does not fit an encoder of {encoder.max_tokens} tokens")
        self._prefix = whole[: starts[0]]
        self._suffix = whole[starts[0] + len(body) :]
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        found = None if unknown is None else self._tokenizer.token_to_id(unknown)
        self._unknown = -1 if found is None else found

    def windows(self, text: str) -> list[list[int]]:
        """Return the ids of each window of ``text``, at least one, special tokens included.

        Raises:
            BadText: There is nothing in ``text`` to judge, it is too long, or most of a window
                is unknown to the vocabulary.
        """
        if len(text) > MAX_CHARACTERS:
            raise BadText(
                "text_too_long", f"{len(text)} characters; at most {MAX_CHARACTERS} are judged"
            )
        if not text.strip():
            raise BadText("empty_text", "the text is empty")
        try:
            body = self._encode(text, special=False)
        except Exception as error:  # lone surrogates, or whatever the library raises
            raise BadText("bad_text", f"the tokenizer refuses it: {error}") from error
        if not body:
            raise BadText("empty_text", "the tokenizer finds nothing in the text")
        room = self._encoder.max_tokens - len(self._prefix) - len(self._suffix)
        parts = list(_cut(body, room))
        if any(2 * part.count(self._unknown) > len(part) for part in parts):
            raise BadText("unknown_text", "most of a passage is outside the model's vocabulary")
        return [self._prefix + part + self._suffix for part in parts]

    def batch(self, windows: Sequence[list[int]]) -> tuple[Ids, Ids]:
        """Return ``input_ids`` and ``attention_mask``, int64 (batch, tokens), padded."""
        longest = max(len(ids) for ids in windows)
        width = self._encoder.max_tokens if self._encoder.fixed_length else longest
        input_ids = np.full((len(windows), width), self._encoder.pad_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(windows):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        return input_ids, mask

    def _encode(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)


def _load(data: bytes, where: str) -> tokenizers.Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "cpu") from None
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises plain Exception
        raise PackageError(f"{where} is not a tokenizer file ({error}): export it again") from None
    # Cutting and padding happen here, in the open.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _cut(body: list[int], room: int) -> Iterator[list[int]]:
    """Yield overlapping parts of at most ``room`` ids that together cover ``body``."""
    step = room - room // 4
    for start in range(0, len(body), step):
        yield body[start : start + room]
        if start + room >= len(body):
            return
