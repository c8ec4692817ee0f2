"""A page as Markdown and as HTML: whatever strangers wrote is text in it, and nothing else."""

from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from serving.registry.rollouts.record import RolloutState
from serving.rollout.report.building import page_of
from serving.rollout.report.html import html
from serving.rollout.report.markdown import markdown
from serving.rollout.report.page import Page, Plot, Point, Section, Series, Table, printable
from serving.rollout.report.plots import svg
from tests.fakes.histories import history

PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "div"}
LIST_TAGS = {"ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td", "br"}
ALLOWED = PAGE_TAGS | LIST_TAGS | {"svg", "line", "text", "polyline", "circle"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "| cell | another |\n| --- | --- |",
    "[click](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "*bold* _it_ `code` ~~gone~~ \\",
    "</td></tr></table><h1>APPROVED</h1>",
    "{{ 7 * 7 }} {% raw %}",
    "\u202egnp.exe\u0000\x1b[31m",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "# heading\n- item\n> quote",
)
strangers = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60))


class Seen(HTMLParser):
    """The elements and cells of a page."""

    def __init__(self, text: str) -> None:
        """Read it."""
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "td":
            self.cells.append("")
            self._is_cell = True
        elif tag == "br" and self._is_cell:
            self.cells[-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        """Take note."""
        self._is_cell = self._is_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        """Take note."""
        if self._is_cell:
            self.cells[-1] += data


def rendered(text: str) -> str:
    """Markdown as a reader that lets HTML through shows it."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def words(text: str) -> list[str]:
    """A text without its spaces: Markdown joins them."""
    return printable(text).split()


def one_cell(text: str) -> Page:
    """A page with a stranger's words in every place that takes any."""
    table = Table(columns=("a", text), rows=((text, "end"),), caption=text)
    return Page(title=f"A {text} Z", lead=text, sections=(Section(title="B", blocks=(table,)),))


@given(strangers)
@example("---")
@example("1. one")
@example("12) twelve")
@example("+ plus")
@example("# head")
@example("- dash")
def test_markdown_shows_strangers_words_as_they_are(text: str) -> None:
    """A cell has the same letters after any reader made HTML of it, and no element is theirs."""
    seen = Seen(rendered(markdown(one_cell(text))))
    assert [words(cell) for cell in seen.cells] == [words(text), ["end"]]
    assert seen.tags <= ALLOWED - {"ul", "li"}  # this page has no list
    assert seen.attributes <= {"style"}


@given(strangers)
def test_html_shows_strangers_words_as_they_are(text: str) -> None:
    """Letter by letter, but for what steers a reader."""
    seen = Seen(html(one_cell(text)))
    assert seen.cells == [printable(text), "end"]
    assert seen.tags <= ALLOWED


@settings(max_examples=settings().max_examples // 5)
@given(strangers, st.sampled_from([RolloutState.COMPLETE, RolloutState.ROLLED_BACK]))
def test_a_whole_page_has_no_element_of_strangers(text: str, state: RolloutState) -> None:
    """Names, reasons, notes, people and keys may hold anything."""
    page = page_of(history(state, model=text or "m", text=text))
    found = html(page)
    seen = Seen(found)
    assert seen.tags <= ALLOWED
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert not seen.attributes & {"src", "href", "style"}
    assert Seen(rendered(markdown(page))).tags <= ALLOWED


def test_a_page_of_html_asks_nothing_of_a_network() -> None:
    """It has no address in it, and forbids its reader to fetch any."""
    found = html(page_of(history(RolloutState.COMPLETE)))
    assert "default-src 'none'" in found
    assert not any(word in found for word in ("http:", "https:", "url(", "@import", "<script"))


def test_a_plot_stays_within_its_frame() -> None:
    """Every place is a number inside the picture, also of one point and of none."""
    for points in ((), (Point(x=3, y=0),), (Point(x=0, y=1e9), Point(x=1e6, y=0.5))):
        drawn = svg(Plot(title="t", unit="u", series=(Series(name="s", points=points),)))
        assert "nan" not in drawn
        assert "inf" not in drawn
        assert drawn.startswith("<svg")


GOLDEN = """\
# Rollout 1: m, version 1 → 2, FAILED

It ended before any call that names no version reached version 2.

## At a glance

| what | value |
| --- | --- |
| model | m |
| from version | 1 (digest {digest}, pushed 2026-01-02 03:04:05 UTC by bob) |
| to version | 2 (digest {digest}, pushed 2026-01-02 03:04:05 UTC by bob) |
| strategy | canary |
| plan | 5 % for 60.0 s; 50 % for 60.0 s; bake for 300.0 s |
| state | FAILED |
| started | 2026-01-02 03:04:05 UTC by ann |
| reason | none was given |
| ended | 2026-01-02 03:04:35 UTC |
| length | 30.0 s |
| report made | 2026-01-02 03:04:45 UTC |
"""


def test_markdown_reads_like_this() -> None:
    """The beginning of a page, word by word."""
    found = markdown(page_of(history(RolloutState.FAILED)))
    assert found.startswith(GOLDEN.format(digest="ef" * 32))


@pytest.mark.parametrize("state", [RolloutState.COMPLETE, RolloutState.FAILED])
def test_both_formats_hold_the_same_cells(state: RolloutState) -> None:
    """Nothing is left out of one of them."""
    page = page_of(history(state))
    cells = {tuple(words(cell)) for cell in Seen(html(page)).cells}
    assert cells <= {tuple(words(cell)) for cell in Seen(rendered(markdown(page))).cells}
