"""Tables in terminals of any width."""

import io

import pytest
from rich.console import Console

from serving.cli.tables import plain_pairs, plain_table

FIGURES = ("12,375", "4.55 ms", "26.87 ms", "2026-11-28 22:17:38")
NOTE = "mismatch: 127 of 127 compared rows are off; output 'probabilities' is off by up to 0.0198"


def drawn(width: int, *rows: tuple[str, ...]) -> list[str]:
    """The lines of a table with names, figures, a time and a note."""
    table = plain_table(("name", "calls", "p50", "p99", "began (UTC)", "note"))
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(table)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [34, 40, 60, 80, 90, 100, 200])
def test_no_figure_is_folded(width: int) -> None:
    """However narrow the terminal is, a number, a time and a word stand whole in a line."""
    text = "\n".join(drawn(width, ("http", *FIGURES, NOTE)))

    assert [one for one in (*FIGURES, *NOTE.split()) if one not in text] == []
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_sentence_is_folded_where_that_is_enough() -> None:
    """The figures of a row stay in one line, and the sentence goes on below itself."""
    title, first, *more = drawn(100, ("http", *FIGURES, NOTE))

    assert title.split("  ")[0] == "name"
    assert all(one in first for one in ("http", *FIGURES))
    assert more
    assert all(line.startswith(" " * 40) for line in more)


def test_a_row_becomes_a_record_where_there_is_no_room() -> None:
    """Each cell beside its title, what is empty left out, and an empty line between two rows."""
    assert drawn(40, ("http", *FIGURES, ""), ("grpc", *FIGURES, "")) == [
        "name         http",
        "calls        12,375",
        "p50          4.55 ms",
        "p99          26.87 ms",
        "began (UTC)  2026-11-28 22:17:38",
        "",
        "name         grpc",
        "calls        12,375",
        "p50          4.55 ms",
        "p99          26.87 ms",
        "began (UTC)  2026-11-28 22:17:38",
    ]


def test_lines_end_where_their_text_does() -> None:
    """Of tables without titles, too: nothing follows the last word but the next line."""
    table = plain_pairs()
    table.add_row("system", "Linux")
    table.add_row("packages", "numpy 2.4.6, onnx 1.23.2")
    text = io.StringIO()

    Console(file=text, width=80, highlight=False).print(table)

    assert text.getvalue() == "system    Linux\npackages  numpy 2.4.6, onnx 1.23.2\n"
