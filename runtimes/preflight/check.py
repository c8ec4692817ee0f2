"""Preflight: what keeps a version from working on a node, in the order in which to mend it.

Pure. Files come first: what is damaged is not judged any further. Then security, the graph, the
environment, the hardware, the configuration, and what running it showed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from runtimes.findings import Finding, Severity
from runtimes.model_facts import UnreadableFile
from runtimes.preflight.archives import check_torch
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.configuration import check_configuration, check_timeout
from runtimes.preflight.contracts import check_contract
from runtimes.preflight.described import check_described
from runtimes.preflight.environment import check_environment
from runtimes.preflight.files import check_files
from runtimes.preflight.graph import check_onnx
from runtimes.preflight.hardware import check_hardware
from runtimes.preflight.running import check_trial
from runtimes.preflight.security import check_security
from runtimes.preflight.subject import Subject
from runtimes.preflight.waivers import Waiver

STRICT_GROUPS: Final = frozenset({"S", "H"})
"""Groups whose warnings are errors under `strict`."""
NO_WAIVERS: Final[Mapping[str, Waiver]] = MappingProxyType({})


def check(subject: Subject, waived: Collection[str] = ()) -> tuple[Finding, ...]:
    """Return every disagreement between what a version needs and what is there.

    The model's content is judged only if its files are well: a damaged file says nothing. What a
    trial showed is judged only if nothing else keeps the version from being loaded.

    Args:
        subject: What to judge.
        waived: Codes whose errors do not keep it from being loaded.
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
    found += check_contract(judged)
    if not has_errors(one for one in found if one.code not in waived):
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
    strict: bool = False,
    waivers: Mapping[str, Waiver] = NO_WAIVERS,
) -> tuple[Finding, ...]:
    """Return the findings as a registry's policy weighs them.

    Args:
        findings: What `check` returned.
        strict: Warnings about security and hardware become errors.
        waivers: By code, what is allowed for this version now (`waivers.for_version`).
    """
    return tuple(_weighed(one, waivers.get(one.code), strict=strict) for one in findings)


def _weighed(finding: Finding, waiver: Waiver | None, *, strict: bool) -> Finding:
    if waiver is not None and finding.severity is not Severity.INFO:
        return replace(finding, severity=Severity.INFO, waiver=str(waiver))
    is_raised = strict and CATALOGUE[finding.code].group in STRICT_GROUPS
    if is_raised and finding.severity is Severity.WARNING:
        return replace(finding, severity=Severity.ERROR)
    return finding


def _without_content(subject: Subject) -> Subject:
    """Keep pickles in sight, and nothing else of a file that is damaged."""
    return replace(subject, model=None) if isinstance(subject.model, UnreadableFile) else subject
