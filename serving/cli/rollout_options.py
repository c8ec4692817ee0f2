"""The words of `bascule rollout start`, read into the body of the admin call."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Final

import typer

from runtimes.errors import InvalidArgumentError
from runtimes.misspelling import did_you_mean
from serving.registry.rollouts.plan import OFF, Guardrails, QualityTest, Strategy

DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)")
UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)%?")
GUARDRAILS: Final = {field.name: field.type for field in fields(Guardrails)}
LIMITS: Final = ("approval", "load", "verify", "traffic", "switch")
STANDARD_BAKE: Final = "5m"
STANDARD_SEQUENCE_LIMIT: Final = "5m"
EXPECTED: Final[Mapping[object, str]] = {
    bool: "on or off",
    QualityTest: f"one of {', '.join(QualityTest)}",
}
SWITCHES: Final = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}

To = Annotated[str, typer.Option("--to", metavar="VERSION", help="Its number, or @ALIAS.")]
StrategyWord = Annotated[Strategy, typer.Option(help="How traffic moves.")]
Steps = Annotated[
    str,
    typer.Option(
        metavar="SHARE[:HOLD],…",
        help="Canary: shares in percent, each with how long (60s, 5m) or for how many of the "
        "candidate's calls (2000) it is held. A/B: one share.",
    ),
]
StickyBy = Annotated[
    str, typer.Option(help="A header: the same value always gets the same version.")
]
Shadow = Annotated[
    str, typer.Option(metavar="60s|2000", help="Copy live calls to it first, and compare.")
]
Bake = Annotated[str, typer.Option(metavar="10m", help="How long the old version stays loaded.")]
SequenceLimit = Annotated[
    str,
    typer.Option(
        metavar="10m", help="How long it stays loaded for sequences that began on it, at most."
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DURATION",
        help="How long it may wait for something before it ends: approval, load, verify, traffic "
        "or switch, as load=10m.",
    ),
]
Guard = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help=f"A guardrail's limit, as latency_ratio=2 or mismatch_share=off; may be repeated: "
        f"{', '.join(GUARDRAILS)}.",
    ),
]
KeepOld = Annotated[
    bool, typer.Option("--keep-old", help="Leave the old version loaded at the end.")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Even if callers would break, or memory does not seem to do."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWords:
    """How traffic shall move, in the words of the command line or of `models.yaml`."""

    strategy: Strategy
    steps: str
    sticky_by: str
    shadow: str
    bake: str
    sequence_limit: str = STANDARD_SEQUENCE_LIMIT
    limits: Iterable[str] = ()
    guards: Iterable[str] = ()
    keep_old: bool


def plan_body(version: int, words: PlanWords) -> dict[str, object]:
    """Return the body of a call that starts a rollout, or asks what one would do.

    Raises:
        InvalidArgumentError: A word cannot be read.
    """
    hold_s, call_count = _hold("--shadow", words.shadow) if words.shadow else (0.0, 0)
    return {
        "version": version,
        "strategy": str(words.strategy),
        "steps": [_step(text.strip()) for text in words.steps.split(",") if text.strip()],
        "sticky_by": words.sticky_by,
        "shadow_s": hold_s,
        "shadow_call_count": call_count,
        "bake_s": seconds("--bake", words.bake),
        "sequence_limit_s": seconds("--sequence-limit", words.sequence_limit),
        "keep_old": words.keep_old,
        "guardrails": dict(_guard(text) for text in words.guards),
        **dict(_limit(text) for text in words.limits),
    }


def seconds(option: str, text: str) -> float:
    """Return how long `90s`, `10m`, `2h` or `1d` is.

    Raises:
        InvalidArgumentError: It is none of these.
    """
    found = DURATION.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(f"{option} {text!r}: how long as 90s, 10m, 2h or 1d is expected")
    return float(found[1]) * UNITS_S[found[2]]


def _step(text: str) -> dict[str, object]:
    share, _, hold = text.partition(":")
    found = SHARE.fullmatch(share)
    if found is None:
        raise InvalidArgumentError(
            f"--steps {text!r}: a share as 10% is expected, and after a colon how long (60s) or "
            "for how many calls (2000)"
        )
    hold_s, call_count = _hold("--steps", hold) if hold else (0.0, 0)
    return {"share_percent": float(found[1]), "hold_s": hold_s, "call_count": call_count}


def _hold(option: str, text: str) -> tuple[float, int]:
    """Read how long, or how many calls."""
    if text.isdecimal():
        return 0.0, int(text)
    return seconds(option, text), 0


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise InvalidArgumentError(f"--limit {name!r}: one of {', '.join(LIMITS)} is expected")
    return f"{name}_limit_s", seconds(f"--limit {name}", value)


def _guard(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if name not in GUARDRAILS:
        raise InvalidArgumentError(
            f"--guard {name!r}: one of {', '.join(GUARDRAILS)} is expected"
            f"{did_you_mean(name, GUARDRAILS, '; ')}"
        )
    kind = GUARDRAILS[name]
    if name in OFF and value.lower() == "off":
        return name, OFF[name]
    try:
        if kind is QualityTest:
            return name, str(QualityTest(value.lower()))
        return name, SWITCHES[value.lower()] if kind is bool else _number(value)
    except (KeyError, ValueError) as error:
        expected = EXPECTED.get(kind, "a number, or off," if name in OFF else "a number")
        raise InvalidArgumentError(f"--guard {name}={value!r}: {expected} is expected") from error


def _number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdecimal() else float(text)
