"""From what detectors said of streams to one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.drift.streams import CHANGES

TARGETS: Final = {
    "mean 0.25 sd": 500,
    "mean 0.5 sd": 200,
    "mean 1 sd": 80,
    "scale 1.5": 120,
    "category": 300,
    "correlation": 200,
    "missing 5 %": 200,
    "gradual": 1_800,
}
MOSTLY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One rule on the streams of one scenario."""

    rule: str
    scenario: str
    streams: int
    early: int
    """Streams with an alarm before the change, or without one."""
    delays: tuple[int, ...]
    right: int

    @property
    def text(self) -> str:
        """The median delay, or that it mostly is not found."""
        if not self.streams:
            return "-"
        share = len(self.delays) / self.streams
        if share < MOSTLY:
            return f"missed ({share:.0%})"
        found = f"{median(self.delays):,.0f}"
        return found if share == 1.0 else f"{found} ({share:.0%})"


def cells(found: Iterable[dict[str, Any]]) -> dict[tuple[str, str, float], Cell]:
    """Group verdicts by rule, scenario and autocorrelation."""
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["rule"], one["scenario"], one["carry"]), []).append(one)
    return {
        key: Cell(
            rule=key[0],
            scenario=key[1],
            streams=len(group),
            early=sum(one["is_early"] for one in group),
            delays=tuple(one["delay_rows"] for one in group if one["delay_rows"] > 0),
            right=sum(bool(one.get("is_right")) for one in group),
        )
        for key, group in groups.items()
    }


def main_table(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of rules and changes, in Markdown."""
    known = cells(found)
    heads = ["rule", "clean streams with an alarm", "same, AR(0.9)", "changed streams, each"]
    heads += [*CHANGES, "CPU us/row"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    aims = [f"{TARGETS[name]:,}" for name in CHANGES]
    lines.append(f"| *target* | 10 % | 20 % | | {' | '.join(aims)} | 5 |")
    for rule in dict.fromkeys(one["rule"] for one in found):
        costs = [one["cpu_us_per_row"] for one in found if one["rule"] == rule]
        row = [rule, _rate(known.get((rule, "clean", 0.0))), _rate(known.get((rule, "clean", 0.9)))]
        changed = [known.get((rule, name, 0.0)) for name in CHANGES]
        row.append(f"{min(cell.streams if cell else 0 for cell in changed)}")
        row += [cell.text if cell else "-" for cell in changed]
        lines.append(f"| {' | '.join(row)} | {median(costs):.1f} |")
    return "\n".join(lines)


def correlated_table(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of delays in correlated traffic."""
    known = cells(one for one in found if one["carry"])
    rules = list(dict.fromkeys(rule for rule, _, _ in known))
    names = [n for n in CHANGES if any((r, n, 0.9) in known for r in rules)]
    lines = [f"| rule | AR(0.9): clean | {' | '.join(names)} |", "|" + "---|" * (len(names) + 2)]
    for rule in rules:
        row = [known[rule, n, 0.9].text if (rule, n, 0.9) in known else "-" for n in names]
        if set(row) != {"-"}:
            rate = _rate(known.get((rule, "clean", 0.9)))
            lines.append(f"| {rule} | {rate} | {' | '.join(row)} |")
    return "\n".join(lines)


def real_table(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of real data."""
    lines = [
        "| table | columns | reference | watched | splits with a false alarm | other classes |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["table"] for one in found):
        group = [one for one in found if one["table"] == name]
        rows = [one["other_mix_row"] for one in group if one["other_mix_row"] > 0]
        delay = f"{median(rows):,.0f} ({len(rows)} of {len(group)})" if rows else "missed"
        first = group[0]
        false = sum(one["false_alarms"] > 0 for one in group)
        lines.append(
            f"| {name} | {first['columns']} | {first['reference_rows']} | "
            f"{first['held_out_rows']} | {false} of {len(group)} | {delay} |"
        )
    return "\n".join(lines)


def right_share(found: Sequence[dict[str, Any]], rule: str) -> float:
    """Return the share of found changes whose column was named."""
    mine = [one for one in found if one["rule"] == rule and one["delay_rows"] > 0]
    return sum(bool(one["is_right"]) for one in mine) / max(len(mine), 1)


def _rate(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.early / cell.streams:.0%} of {cell.streams}"
