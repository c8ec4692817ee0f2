"""What the demo asks real models: sentences as token ids, files as bytes."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.int32]]

MAX_WORD_LENGTH: Final = 100
FILE_PART_BYTES: Final = 1024  # magika looks at this much of a file's start, and of its end
PADDING: Final = 256  # one more than any byte


class WordPiece:
    """Splits English text into the pieces of a vocabulary: longest piece first."""

    def __init__(self, vocabulary: Path) -> None:
        """Read the vocabulary: one piece a line, its number is its line."""
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self._ids = {piece: number for number, piece in enumerate(pieces)}

    def batch(self, sentences: Sequence[str]) -> tuple[Ids, Ids]:
        """Return token ids and mask, shape (sentences, longest); shorter ones are padded."""
        rows = [self.ids(sentence) for sentence in sentences]
        longest = max(len(row) for row in rows)
        ids = np.array([row + [0] * (longest - len(row)) for row in rows], np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)
        return ids, mask

    def ids(self, sentence: str) -> list[int]:
        """Return the ids of one sentence, with the marks at its start and end."""
        pieces = [piece for word in _words(sentence) for piece in self._pieces(word)]
        return [self._ids[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def _pieces(self, word: str) -> Sequence[str]:
        pieces: list[str] = []
        rest = word if len(word) <= MAX_WORD_LENGTH else ""
        while rest:
            mark = "##" if pieces else ""
            fitting = (
                rest[:end] for end in range(len(rest), 0, -1) if mark + rest[:end] in self._ids
            )
            piece = next(fitting, "")
            if not piece:
                return ["[UNK]"]
            pieces.append(mark + piece)
            rest = rest[len(piece) :]
        return pieces or ["[UNK]"]


def file_features(path: Path) -> Bytes:
    """Return what magika looks at, shape (1, 2048): the start and the end of a file."""
    content = path.read_bytes().strip()
    start, end = content[:FILE_PART_BYTES], content[-FILE_PART_BYTES:]
    features = np.full((1, 2 * FILE_PART_BYTES), PADDING, np.int32)
    features[0, : len(start)] = np.frombuffer(start, np.uint8)
    features[0, 2 * FILE_PART_BYTES - len(end) :] = np.frombuffer(end, np.uint8)
    return features


def _words(sentence: str) -> Iterator[str]:
    """Lower case, without accents; punctuation stands alone."""
    plain = unicodedata.normalize("NFD", sentence.lower())
    word = ""
    for letter in plain:
        if unicodedata.category(letter) == "Mn":
            continue
        if letter.isalnum():
            word += letter
            continue
        if word:
            yield word
        word = ""
        if not letter.isspace():
            yield letter
    if word:
        yield word
