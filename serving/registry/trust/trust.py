"""Whom a registry trusts, and what it does with a version that nobody trusted has signed. Pure.

A signature counts if its key is trusted for the model. What does not count is as if it were not
there: a version that only strangers signed is an unsigned one. Formats whose loading can run code
of their author need more than that under any policy: a signature that counts, and a name on the
allow-list.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from runtimes.findings import Finding, Severity
from serving.registry.bundles.keys import PublicKey


class Unsigned(StrEnum):
    """What becomes of a version without a signature that counts."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and the models for which its signature counts."""

    key: PublicKey
    name: str
    """What people call it."""
    models: tuple[str, ...]
    """Patterns of model names, as in `fraud-*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """The rules of one registry."""

    unsigned: Unsigned = Unsigned.ALLOW
    keys: tuple[TrustedKey, ...] = ()
    may_execute: tuple[str, ...] = ()
    """Patterns of the models whose loading may run code that they carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that asks to be stored or loaded."""

    model: str
    version: int
    runs_code: bool
    """Loading its format can run code of its author."""
    signers: tuple[PublicKey, ...] = ()
    """Keys whose signatures were verified."""

    def __str__(self) -> str:
        """Print as the version's name."""
        return f"{self.model}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules say of a version."""

    signed_by: tuple[str, ...] = ()
    """Names of the trusted keys that signed it."""
    may_execute: bool = False
    """Its loading may run code that it carries."""
    findings: tuple[Finding, ...] = field(default=())

    @property
    def refusal(self) -> Finding | None:
        """Why it is refused; None: it is not."""
        return next((one for one in self.findings if one.severity is Severity.ERROR), None)


def judge(policy: TrustPolicy, candidate: Candidate) -> Verdict:
    """Decide about one version."""
    counted = tuple(
        trusted.name
        for trusted in policy.keys
        if trusted.key in candidate.signers and matches(candidate.model, trusted.models)
    )
    allowed = matches(candidate.model, policy.may_execute)
    findings = []
    if candidate.runs_code and not (counted and allowed):
        findings.append(_code_finding(policy, candidate, counted))
    if not counted and policy.unsigned is not Unsigned.ALLOW:
        findings.append(_unsigned_finding(policy, candidate))
    return Verdict(
        signed_by=counted,
        may_execute=bool(candidate.runs_code and counted and allowed),
        findings=tuple(findings),
    )


def matches(model: str, patterns: Iterable[str]) -> bool:
    """Whether a model's name fits one of the patterns."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def _code_finding(policy: TrustPolicy, candidate: Candidate, counted: tuple[str, ...]) -> Finding:
    if counted:
        message = "loading it can run code that it carries, and the model is not on the allow-list"
        fix = f"if you vouch for it, run bascule keys policy --may-execute {candidate.model}"
    else:
        message = f"loading it can run code that it carries, and {_lacking(policy, candidate)}"
        fix = (
            "sign it with a trusted key (bascule sign, bascule keys trust), or export the model "
            "to ONNX or TorchScript"
        )
    return Finding(
        code="BP-S02",
        severity=Severity.ERROR,
        subject=str(candidate),
        message=message,
        fix=fix,
        found=", ".join(counted) or "no trusted signature",
        required="a trusted signature, and a place on the allow-list",
    )


def _unsigned_finding(policy: TrustPolicy, candidate: Candidate) -> Finding:
    refused = policy.unsigned is Unsigned.REFUSE
    names = [one.name for one in policy.keys if matches(candidate.model, one.models)]
    return Finding(
        code="BP-S04",
        severity=Severity.ERROR if refused else Severity.WARNING,
        subject=str(candidate),
        message=(
            f"{_lacking(policy, candidate)}, and the registry "
            f"{'takes signed versions only' if refused else 'expects a signature'}"
        ),
        fix=(
            f"sign it with a key that is trusted for the model ({', '.join(names) or 'none is'}), "
            "or trust its signer with bascule keys trust"
        ),
        found=", ".join(key.key_id for key in candidate.signers) or "no signature",
        required=", ".join(names) or "a trusted key",
    )


def _lacking(policy: TrustPolicy, candidate: Candidate) -> str:
    """Say why no signature counts."""
    if not candidate.signers:
        return "it is not signed"
    known = {trusted.key: trusted.name for trusted in policy.keys}
    named = [known.get(key, f"unknown key {key.key_id}") for key in candidate.signers]
    return f"it is signed by {', '.join(named)}, which nobody trusts for this model"
