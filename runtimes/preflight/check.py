"""Preflight: what keeps a version from working on a node, in the order in which to mend it.

Pure. Files come first: what is damaged is not judged any further. Then security, the graph, the
environment, the hardware, the configuration, and what running it showed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from runtimes.findings import Finding, Severity
from runtimes.model_facts import UnreadableFile
from runtimes.preflight.archives import check_torch
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.configuration import check_configuration, check_timeout
from runtimes.preflight.described import check_described
from runtimes.preflight.environment import check_environment
from runtimes.preflight.files import check_files
from runtimes.preflight.graph import check_onnx
from runtimes.preflight.hardware import check_hardware
from runtimes.preflight.running import check_trial
from runtimes.preflight.security import check_security
from runtimes.preflight.subject import Subject

STRICT_GROUPS: Final = frozenset({"S", "H"})
"""Groups whose warnings are errors under `strict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A finding that somebody allows for a while."""

    code: str
    reason: str
    until_utc: datetime
    by: str


def check(subject: Subject) -> tuple[Finding, ...]:
    """Return every disagreement between what a version needs and what is there.

    The model's content is judged only if its files are well: a damaged file says nothing.
    """
    files = tuple(check_files(subject))
    is_sound = not has_errors(files)
    judged = subject if is_sound else replace(subject, model=None, trial=None)
    found = [*files, *check_security(subject if is_sound else _without_content(subject))]
    if is_sound:
        found += check_onnx(judged)
        found += check_torch(judged)
    found += check_environment(judged)
    found += check_hardware(judged)
    found += check_configuration(judged)
    if not has_errors(found):
        found += check_trial(judged)
        found += check_timeout(judged)
    found += check_described(judged)
    return tuple(found)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether a version must not be loaded."""
    return any(one.severity is Severity.ERROR for one in findings)


def apply_policy(
    findings: Sequence[Finding],
    *,
    strict: bool,
    waivers: Sequence[Waiver] = (),
    now_utc: datetime,
) -> tuple[Finding, ...]:
    """Return the findings as a registry's policy weighs them.

    Args:
        findings: What `check` returned.
        strict: Warnings about security and hardware become errors.
        waivers: What is allowed meanwhile; one that is over, or for a code that cannot be waived,
            changes nothing.
        now_utc: Decides which waivers are over.
    """
    valid = {
        waiver.code: waiver
        for waiver in waivers
        if waiver.until_utc > now_utc
        and waiver.code in CATALOGUE
        and CATALOGUE[waiver.code].is_waivable
    }
    return tuple(_weighed(one, valid.get(one.code), strict=strict) for one in findings)


def _weighed(finding: Finding, waiver: Waiver | None, *, strict: bool) -> Finding:
    if waiver is not None and finding.severity is not Severity.INFO:
        until = waiver.until_utc.date().isoformat()
        note = f"{finding.message} (allowed until {until} by {waiver.by}: {waiver.reason})"
        return replace(finding, severity=Severity.INFO, message=note)
    is_raised = strict and CATALOGUE[finding.code].group in STRICT_GROUPS
    if is_raised and finding.severity is Severity.WARNING:
        return replace(finding, severity=Severity.ERROR)
    return finding


def _without_content(subject: Subject) -> Subject:
    """Keep pickles in sight, and nothing else of a file that is damaged."""
    return replace(subject, model=None) if isinstance(subject.model, UnreadableFile) else subject
