"""One table, whatever the order in which labels were posted."""

import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serving.predictions.labels.entries import Cell
from serving.predictions.labels.table import CellKey, Label, LabelBatch, LabelTable

IDS = ("a", "b")
CELL = st.builds(
    Cell,
    prediction_id=st.sampled_from(IDS),
    row=st.integers(0, 1),
    output=st.sampled_from(("", "y")),
    value=st.sampled_from((0.0, 1.0, "cat")),
    source=st.sampled_from(("", "desk")),
    time_ns=st.integers(1, 10**6),
    weight=st.sampled_from((1.0, 2.0)),
)
CELLS = st.lists(
    CELL, max_size=12, unique_by=lambda c: (c.prediction_id, c.row, c.output, c.time_ns)
)
KEYS = [CellKey(one, row, output) for one in IDS for row in (0, 1) for output in ("", "y")]


def table_of(cells: list[Cell], start_ns: int = 10**9) -> LabelTable:
    """Post each by itself, one after the other."""
    table = LabelTable()
    for index, cell in enumerate(cells):
        table.add(LabelBatch("m", None, start_ns + index, (cell,)))
    return table


def meant(table: LabelTable) -> dict[CellKey, object]:
    """What a table says, without when it was posted."""
    found = {key: table.held(key) for key in KEYS}
    return {
        key: (
            plain(held.label),
            held.correction_count,
            held.is_disputed,
            [(name, *map(plain, history)) for name, history in held.histories.items()],
        )
        for key, held in found.items()
        if held is not None
    }


def plain(label: Label) -> tuple[object, ...]:
    """A label without the time of its post."""
    return (label.time_ns, label.value, label.weight, label.source)


@given(cells=CELLS, data=st.data())
def test_the_order_of_posts_changes_nothing(cells: list[Cell], data: st.DataObject) -> None:
    """Labels with times: in any order, and some of them twice, they are the same table."""
    repeated = [
        *cells,
        *data.draw(st.lists(st.sampled_from(cells), max_size=6) if cells else st.just([])),
    ]
    shuffled = data.draw(st.permutations(repeated))

    assert meant(table_of(list(shuffled))) == meant(table_of(cells))


@given(cells=CELLS)
def test_a_post_in_one_piece_or_in_many_is_the_same(cells: list[Cell]) -> None:
    """A request of many labels means what many requests of one mean."""
    whole = LabelTable()
    whole.add(LabelBatch("m", None, 10**9, tuple(cells)))

    assert meant(whole) == meant(table_of(cells))


def test_a_later_label_supersedes_and_the_earlier_one_is_remembered() -> None:
    """Without a time, what was posted later holds; saying it again is no correction."""
    first, second = (Cell("a", 0, "", value, "", 0, 1.0) for value in (0.0, 1.0))
    held = table_of([first, first, second, second]).held(KEYS[0])

    assert held is not None
    assert held.label.value == 1.0
    assert [label.value for label in held.histories[""]] == [0.0, 1.0]
    assert held.correction_count == 1


def test_sources_that_disagree_are_counted_and_can_be_told_apart() -> None:
    """The newest holds; asking for one source gives what it says."""
    desk, job = (Cell("a", 0, "", v, s, t, 1.0) for v, s, t in ((0.0, "desk", 5), (1.0, "job", 9)))
    table = table_of([desk, job])
    both, alone = table.held(KEYS[0]), table.held(KEYS[0], "desk")

    assert both is not None
    assert alone is not None
    assert (both.label.value, both.is_disputed) == (1.0, True)
    assert (alone.label.value, alone.is_disputed) == (0.0, False)


def test_when_a_row_was_labelled_first_is_not_changed_by_what_says_the_same_earlier() -> None:
    """A post that dates a known label back begins its history: the row would be judged again."""
    table = table_of([Cell("a", 0, "", 1.0, "", time_ns, 1.0) for time_ns in (10, 4)], start_ns=100)
    held = table.held(KEYS[0])

    assert held is not None
    assert (held.label.time_ns, held.first_posted_ns) == (4, 100)


def test_what_a_label_costs_does_not_hang_on_how_often_its_cell_was_labelled() -> None:
    """A job that posts one label again and again makes a million: few calls for each of them."""
    cells = [Cell("a", 0, "", float(n % 2), "", 0, 1.0) for n in range(2_000)]
    calls = Counter[str]()
    sys.setprofile(lambda _frame, event, _: calls.update((event,)) if event == "call" else None)
    try:
        held = table_of(cells).held(KEYS[0])
    finally:
        sys.setprofile(None)

    assert held is not None
    assert held.correction_count == len(cells) - 1
    assert calls["call"] < 5 * len(cells), "a post, its batch and its label, and none to sort them"
