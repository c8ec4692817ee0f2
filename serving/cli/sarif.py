"""Findings as SARIF 2.1.0, which code hosts and editors show."""

from collections.abc import Sequence
from typing import Final

from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import CATALOGUE

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def sarif_of(target: str, findings: Sequence[Finding]) -> dict[str, object]:
    """Return a SARIF log of one run.

    Args:
        target: What was checked.
        findings: What was found.
    """
    codes = sorted({one.code for one in findings})
    rules = [
        {"id": code, "shortDescription": {"text": CATALOGUE[code].title}}
        for code in codes
        if code in CATALOGUE
    ]
    driver = {"name": "bascule preflight", "rules": rules}
    results = [_result(target, one) for one in findings]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _result(target: str, finding: Finding) -> dict[str, object]:
    allowed = {"suppressions": [{"kind": "external", "justification": finding.waiver}]}
    return (allowed if finding.waiver else {}) | {
        "ruleId": finding.code,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.subject}: {finding.message}: {finding.fix}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": target}}}],
    }
