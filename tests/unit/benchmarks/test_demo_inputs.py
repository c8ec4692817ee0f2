"""The demo's sentences and files reach the models in the form that these were trained on."""

from pathlib import Path

import pytest

from benchmarks.demo_inputs import WordPiece, file_features

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "play", "##ing", "!", "cafe")


@pytest.fixture
def words(tmp_path: Path) -> WordPiece:
    """A tokenizer with a small vocabulary."""
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(PIECES), encoding="utf-8")
    return WordPiece(vocabulary)


@pytest.mark.parametrize(
    ("sentence", "pieces"),
    [
        pytest.param("Hello world", ["hello", "world"], id="lower case"),
        pytest.param("playing!", ["play", "##ing", "!"], id="longest pieces, punctuation alone"),
        pytest.param("Café", ["cafe"], id="without accents"),
        pytest.param("hello xyz", ["hello", "[UNK]"], id="unknown word"),
        pytest.param("h" * 101, ["[UNK]"], id="too long a word"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_sentences_become_pieces(words: WordPiece, sentence: str, pieces: list[str]) -> None:
    """A sentence is split as the vocabulary's own tokenizer splits it."""
    assert words.ids(sentence) == [PIECES.index(p) for p in ("[CLS]", *pieces, "[SEP]")]


def test_shorter_sentences_are_padded(words: WordPiece) -> None:
    """Rows are as long as the longest, and the mask says what is padding."""
    ids, mask = words.batch(["hello", "hello world"])

    assert ids.tolist() == [[2, 4, 3, 0], [2, 4, 5, 3]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_short_files_are_padded_in_the_middle(tmp_path: Path) -> None:
    """A short file stands at the start and at the end, 256 between; space around it is gone."""
    path = tmp_path / "short"
    path.write_bytes(b"  ab\n")

    (row,) = file_features(path).tolist()

    assert (row[:3], row[-3:]) == ([97, 98, 256], [256, 97, 98])
    assert len(row) == 2048


def test_long_files_show_their_ends(tmp_path: Path) -> None:
    """Of a long file, the first and the last 1024 bytes are taken."""
    path = tmp_path / "long"
    path.write_bytes(b"a" * 1024 + b"b" * 5000 + b"c" * 1024)

    (row,) = file_features(path).tolist()

    assert row == [97] * 1024 + [99] * 1024
