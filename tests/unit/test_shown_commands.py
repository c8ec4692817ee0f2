"""The commands that documents show: where they end, what they print, what may be otherwise."""

import pytest

from tests.fakes.shown_commands import Shown, shown_commands

PAGE = """
```bash
a --b
c
```

```console
$ curl -d '{"x":
    1}' here     # exit status 1
no
$ d
```

```yaml
e: 1
```
"""


def test_blocks_are_split_into_commands() -> None:
    """A bash block is one text; a prompt begins a command, which ends where its quotes do."""
    assert list(shown_commands(PAGE)) == [
        Shown(text="a --b\nc\n"),
        Shown(text="curl -d '{\"x\":\n    1}' here     # exit status 1", lines=("no",)),
        Shown(text="d"),
    ]
    assert [shown.status for shown in shown_commands(PAGE)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("m:1 answered in 2.89 ms", "m:1 answered in 992 µs\n"),
        ("digest f0548584f2ca", "a digest 8e855186134e"),
        ("v  1  READY  s1", "v  12  READY     d3  shared"),
        ("3 rows, … as shown", "5 rows, 2.5 MB, as shown"),
        ("root  push", "ann   push"),
        ("…", ""),
    ],
)
def test_what_may_be_otherwise_is_not_missed(shown: str, printed: str) -> None:
    """Numbers, units, digests, widths, pools, names and what was cut may differ."""
    assert Shown(text="a", lines=(shown,)).missing_from(printed) == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("EXACT  m:1", "DIFFERENT  m:1"), ("rule x.max", "rule x.min"), ("1 label", "no label")],
)
def test_words_that_are_otherwise_are_missed(shown: str, printed: str) -> None:
    """A line whose words were not printed is named."""
    assert Shown(text="a", lines=(shown,)).missing_from(printed) == [shown]
