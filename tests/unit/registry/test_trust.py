"""Whom a registry trusts: the decision, and the file that holds its rules."""

import base64
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from runtimes.findings import Severity
from serving.errors import NotFoundError
from serving.registry.bundles.keys import SigningKey
from serving.registry.trust.trust import Candidate, TrustedKey, TrustPolicy, Unsigned, judge
from serving.registry.trust.trust_file import (
    change_policy,
    parse_policy,
    policy_text,
    read_policy,
    trust_key,
    untrust_key,
)

ALICE = SigningKey.new().public
BOB = SigningKey.new().public
TRUST_ALICE = TrustedKey(key=ALICE, name="alice", models=("fraud-*",))


def policy(unsigned: Unsigned = Unsigned.ALLOW, *may_execute: str) -> TrustPolicy:
    """Rules that trust Alice for fraud models."""
    return TrustPolicy(unsigned=unsigned, keys=(TRUST_ALICE,), may_execute=may_execute)


def version(model: str = "fraud-a", *signers: object, runs_code: bool = False) -> Candidate:
    """A version with some signatures."""
    keys = tuple(key for key in (ALICE, BOB) if key in signers)
    return Candidate(model=model, version=1, runs_code=runs_code, signers=keys)


@pytest.mark.parametrize(
    ("unsigned", "signers", "expected"),
    [
        pytest.param(Unsigned.ALLOW, (), [], id="allowed"),
        pytest.param(Unsigned.WARN, (), [("BP-S04", Severity.WARNING)], id="warned"),
        pytest.param(Unsigned.REFUSE, (), [("BP-S04", Severity.ERROR)], id="refused"),
        pytest.param(Unsigned.REFUSE, (ALICE,), [], id="signed"),
        pytest.param(Unsigned.REFUSE, (BOB,), [("BP-S04", Severity.ERROR)], id="stranger"),
        pytest.param(Unsigned.REFUSE, (ALICE, BOB), [], id="one is enough"),
        pytest.param(Unsigned.WARN, (BOB,), [("BP-S04", Severity.WARNING)], id="stranger warned"),
    ],
)
def test_unsigned_versions_are_treated_as_the_rules_say(
    unsigned: Unsigned, signers: tuple[object, ...], expected: list[tuple[str, Severity]]
) -> None:
    """A signature counts if its key is trusted for the model; without one the rule decides."""
    verdict = judge(policy(unsigned), version("fraud-a", *signers))

    assert [(one.code, one.severity) for one in verdict.findings] == expected
    assert verdict.signed_by == (("alice",) if ALICE in signers else ())


def test_a_key_counts_for_its_models_only() -> None:
    """Alice signs fraud models; her signature of another model is a stranger's."""
    verdict = judge(policy(Unsigned.REFUSE), version("ranker", ALICE))

    assert verdict.refusal is not None
    assert "signed by alice, which nobody trusts for this model" in verdict.refusal.message


@pytest.mark.parametrize(
    ("signers", "allowed", "says"),
    [
        pytest.param((), ("*",), "it is not signed", id="unsigned"),
        pytest.param((BOB,), ("*",), "unknown key", id="stranger"),
        pytest.param((ALICE,), (), "allow-list", id="not on the list"),
        pytest.param((ALICE,), ("other",), "allow-list", id="another is on it"),
    ],
)
def test_code_needs_a_signature_and_a_place_on_the_list(
    signers: tuple[object, ...], allowed: tuple[str, ...], says: str
) -> None:
    """A format that can run code is refused under the most lenient rules if either is missing."""
    verdict = judge(policy(Unsigned.ALLOW, *allowed), version("fraud-a", *signers, runs_code=True))

    assert verdict.refusal is not None
    assert verdict.refusal.code == "BP-S02"
    assert says in verdict.refusal.message
    assert not verdict.may_execute


def test_code_runs_when_both_are_there() -> None:
    """Signed by a trusted key and allow-listed: it may execute; a plain format never needs to."""
    rules = policy(Unsigned.REFUSE, "fraud-a")

    assert judge(rules, version("fraud-a", ALICE, runs_code=True)).may_execute
    assert not judge(rules, version("fraud-a", ALICE)).may_execute


def test_the_rules_are_read_as_they_were_written(tmp_path: Path) -> None:
    """What commands change is there when the file is read again; a missing file is no rule."""
    file = tmp_path / "registry" / "trust.yaml"

    assert read_policy(file) == TrustPolicy()
    trust_key(file, TRUST_ALICE)
    change_policy(file, Unsigned.REFUSE, ("fraud-a",))
    assert read_policy(file) == policy(Unsigned.REFUSE, "fraud-a")
    assert untrust_key(file, ALICE.key_id[:8]) == TRUST_ALICE
    assert read_policy(file).keys == ()


def test_trusting_again_replaces(tmp_path: Path) -> None:
    """A key is in the file once, with what was said of it last."""
    file = tmp_path / "trust.yaml"
    later = TrustedKey(key=ALICE, name="alice", models=("*",))
    trust_key(file, TRUST_ALICE)

    assert trust_key(file, later).keys == (later,)


def test_a_name_is_no_beginning_of_an_id(tmp_path: Path) -> None:
    """A key that is called as another one's id begins can still be taken out."""
    file = tmp_path / "trust.yaml"
    trust_key(file, TRUST_ALICE)
    named = TrustedKey(key=BOB, name=ALICE.key_id[:3], models=("*",))
    trust_key(file, named)

    assert untrust_key(file, named.name) == named
    assert read_policy(file).keys == (TRUST_ALICE,)
    assert untrust_key(file, ALICE.key_id[:3]) == TRUST_ALICE


def test_a_damaged_file_says_how_the_rules_come_back(tmp_path: Path) -> None:
    """Whoever finds it cut off is told where the catalog's copy of the rules is."""
    file = tmp_path / "trust.yaml"
    file.write_text("unsigned: [")
    with pytest.raises(InvalidArgumentError, match="remove it and run bascule keys restore-rules"):
        read_policy(file)


@pytest.mark.parametrize("name", ["", "carol"])
def test_only_a_known_key_is_taken_out(tmp_path: Path, name: str) -> None:
    """A name that fits no key, or all of them, changes nothing."""
    file = tmp_path / "trust.yaml"
    trust_key(file, TRUST_ALICE)

    with pytest.raises(NotFoundError, match="trusted are alice"):
        untrust_key(file, name)
    assert read_policy(file).keys == (TRUST_ALICE,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("unsigned: sometimes", "unsigned", id="unknown rule"),
        pytest.param("unsinged: refuse", "unsinged", id="unknown field"),
        pytest.param("- a list", "policy", id="no mapping"),
        *(pytest.param(text, "policy", id=f"{text} for rules") for text in ("[]", "0", "no", "''")),
        pytest.param("keys: [", "no YAML", id="no YAML"),
        pytest.param("!!python/object/apply:os.getcwd []", "no YAML", id="code"),
        pytest.param("may_execute: '*'", "may_execute", id="text for a list"),
        pytest.param(
            policy_text(policy()).replace(ALICE.key_id, BOB.key_id), "has the id", id="other id"
        ),
        pytest.param(
            policy_text(policy()).replace(base64.b64encode(ALICE.der).decode(), "ü"),
            "'ü' is no Ed25519",
            id="no ASCII",
        ),
        pytest.param(
            policy_text(policy()).replace(base64.b64encode(ALICE.der).decode(), "AAAA"),
            "trust.yaml: key 'alice': public_key 'AAAA' is no Ed25519",
            id="no key",
        ),
    ],
)
def test_a_wrong_file_is_no_policy(text: str, says: str) -> None:
    """A mistake in the rules is named; it never means that everything is allowed."""
    with pytest.raises(InvalidArgumentError, match=says):
        parse_policy(text.encode(), "trust.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_rules_or_refused(raw: bytes) -> None:
    """No file content does anything but give rules or an error of ours."""
    with suppress(BasculeError):
        parse_policy(raw, "trust.yaml")
