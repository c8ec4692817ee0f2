"""All cases against one running server: what each transport answered, and what was refused."""

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.onnx_conformance.cases import Array, Case
from benchmarks.onnx_conformance.transports import HTTP_JSON, Ask
from benchmarks.onnx_conformance.verdict import Verdict, difference, same_bits

SETTLED: Final = frozenset({"READY", "UNAVAILABLE"})
ASK_LIMIT_S: Final = 30


@dataclass(slots=True)
class Score:
    """What a run found."""

    passed: Counter[str] = field(default_factory=Counter)
    """Right answers by transport."""
    exact: int = 0
    """Right answers that are the bare engine's, bit for bit."""
    refused: int = 0
    """Models that the engine cannot load, and that the server refuses with its reason."""
    left_out: int = 0
    """Cases whose expected outputs the engine alone does not give."""
    failures: list[str] = field(default_factory=list)


def judge(
    cases: Sequence[Case],
    verdicts: Mapping[str, Verdict],
    asks: Mapping[str, Ask],
    index: Mapping[str, Mapping[str, str]],
) -> Score:
    """Ask every case that the engine can answer, and look how the server refused the others.

    Args:
        cases: What the server was given.
        verdicts: What the engine alone makes of them, by name.
        asks: How to ask, by transport.
        index: The server's repository index, by model.
    """
    score = Score()
    for case in cases:
        verdict = verdicts[case.name]
        if verdict.refusal:
            _judge_refusal(case, index.get(case.name, {}), asks, score)
        elif verdict.problem:
            score.left_out += 1
        else:
            _judge_answers(case, verdict, asks, score)
    return score


def repository_index(http: str) -> dict[str, dict[str, str]]:
    """Read the server's index: the entry of each model's version."""
    request = urllib.request.Request(f"http://{http}/v2/repository/index", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=ASK_LIMIT_S) as reply:  # noqa: S310  as above
        entries: list[dict[str, str]] = json.load(reply)
    return {entry["name"]: entry for entry in entries}


def has_settled(cases: Sequence[Case]) -> Callable[[str], bool]:
    """Return what tells of an address that nothing of the cases is still loading there."""

    def settled(http: str) -> bool:
        try:
            index = repository_index(http)
        except (urllib.error.URLError, OSError):
            return False
        return all(index.get(case.name, {}).get("state") in SETTLED for case in cases)

    return settled


def _judge_answers(case: Case, verdict: Verdict, asks: Mapping[str, Ask], score: Score) -> None:
    for transport, ask in asks.items():
        if transport == HTTP_JSON and not case.is_json:
            continue
        answer, problem = _ask(ask, case)
        problem = problem or difference(answer, case.outputs)
        if problem:
            score.failures.append(f"{case.name}, {transport}: {problem}")
            continue
        score.passed[transport] += 1
        score.exact += same_bits(answer, verdict.answer)


def _judge_refusal(
    case: Case, entry: Mapping[str, str], asks: Mapping[str, Ask], score: Score
) -> None:
    """A model that cannot work is refused with a reason, and whoever calls it is told."""
    if entry.get("state") != "UNAVAILABLE" or not entry.get("reason"):
        score.failures.append(f"{case.name}: not refused with a reason: {dict(entry)}")
        return
    for transport, ask in asks.items():
        if transport == HTTP_JSON and not case.is_json:
            continue
        _, problem = _ask(ask, case)
        if "Request for unknown model" not in problem:
            score.failures.append(f"{case.name}, {transport}: refused model answers {problem!r}")
            return
    score.refused += 1


def _ask(ask: Ask, case: Case) -> tuple[list[Array], str]:
    try:
        return ask(case), ""
    except Exception as error:  # noqa: BLE001  whatever a caller would see is a failure
        return [], f"{type(error).__name__}: {error}"
