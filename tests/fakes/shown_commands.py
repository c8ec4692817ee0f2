"""The commands that a document shows, as its reader would type them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

BLOCK: Final = re.compile(r"^```(bash|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROMPT: Final = "$ "
CUT: Final = "…"
STATUS: Final = re.compile(r"# exit status (\d)")
UNIT: Final = r"(?:\s?(?:[µm]?s|[kMG]?B)\b)?"
MASKS: Final = (
    ("…", ".*"),  # what was cut
    (r"[0-9a-f]{8,}[0-9a-f-]*", "[0-9a-f-]+"),  # digests and ids
    (rf"\d[\d,.:]*{UNIT}", rf"[\d,.:]+{UNIT}"),  # numbers, times, sizes
    (r"\s+", r"\s+"),  # columns are as wide as what they hold
    (r"\b[sd](?=\d)", "[sd]"),  # pools: what runs slowly here gets its own
    (r"\broot\b", r"\S+"),  # who runs it
)
"""What may be otherwise in the next run, and how that looks."""
MASKED: Final = re.compile("|".join(f"({shown})" for shown, _ in MASKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One command, or the lines of a block without prompts, and what it is shown to print."""

    text: str
    lines: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status that its comment names; 0 without one."""
        found = STATUS.search(self.text)
        return int(found[1]) if found else 0

    def missing_from(self, printed: str) -> list[str]:
        """Return the shown lines that a run did not print, numbers and ids apart."""
        return [
            line
            for line in self.lines
            if line.strip(f" {CUT}") and not re.search(_pattern(line), printed)
        ]


def shown_commands(text: str) -> Iterator[Shown]:
    """Yield what a text's `bash` and `console` blocks have one type, in order."""
    for kind, block in BLOCK.findall(text):
        if kind == "bash":
            yield Shown(text=block)
        else:
            yield from _of_console(block.splitlines())


def _of_console(lines: Sequence[str]) -> Iterator[Shown]:
    starts = [number for number, line in enumerate(lines) if line.startswith(PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        part = [lines[start].removeprefix(PROMPT), *lines[start + 1 : end]]
        last = next(n for n in range(1, len(part) + 1) if _is_whole("\n".join(part[:n])))
        yield Shown(text="\n".join(part[:last]), lines=tuple(part[last:]))


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation goes on in the next line
        return False
    return True


def _pattern(line: str) -> str:
    parts, end = [], 0
    for found in MASKED.finditer(line):
        parts += [re.escape(line[end : found.start()]), MASKS[(found.lastindex or 1) - 1][1]]
        end = found.end()
    return "".join([*parts, re.escape(line[end:])])
