"""The table of a catalogue's codes, for the checks that have one (`--codes`)."""

from collections.abc import Sequence
from typing import Protocol

from runtimes.findings import Severity
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table


class Entry(Protocol):
    """What every catalogue says of a code."""

    @property
    def code(self) -> str:
        """Its name."""

    @property
    def severity(self) -> Severity:
        """How bad it is at worst."""

    @property
    def title(self) -> str:
        """What must hold."""


def print_codes(entries: Sequence[Entry], *, as_json: bool) -> None:
    """Print every code, for people or as JSON."""
    if as_json:
        print_json(entries)
        return
    table = plain_table(("code", "at worst", "what must hold"))
    for one in entries:
        table.add_row(one.code, one.severity.value, one.title)
    console().print(table)
