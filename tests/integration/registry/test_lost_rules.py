"""A registry's rules are never lost in silence: not by a lost file, not without a trace."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import NotFoundError, UntrustedError
from serving.registry import audit
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.signing import sign_bundle
from serving.registry.store import Registry
from serving.registry.trust.rule_book import BY_HAND, RuleChange, digest_of
from serving.registry.trust.trust import TrustedKey, TrustPolicy, Unsigned
from serving.registry.trust.trust_file import TRUST_FILE, change_policy, read_policy, trust_key
from tests.fakes.bundles import make_bundle

ALICE = SigningKey.new()
TRUST_ALICE = TrustedKey(key=ALICE.public, name="alice", models=("*",))
BY_ANN = RuleChange(who="ann", action="set_policy", reason="audit of May")


@pytest.fixture
def rules(home: Path, tmp_path: Path) -> Path:
    """The trust file of a registry that takes what Alice signed only, and holds one version."""
    file = home / "registry" / TRUST_FILE
    trust_key(file, TRUST_ALICE)
    change_policy(file, Unsigned.REFUSE, None)
    bundle = make_bundle(tmp_path / "signed")
    sign_bundle(bundle.folder, ALICE)
    with Registry(home) as registry:
        registry.push(bundle.folder, "t")
    return file


def delete(file: Path) -> None:
    """Lose a file."""
    file.unlink()


def empty(file: Path) -> None:
    """Lose what is in a file."""
    file.write_text("")


def cut(file: Path) -> None:
    """Lose all of a file but the comment that it begins with."""
    file.write_text(file.read_text().partition("\n")[0])


LOSSES = [
    pytest.param(delete, id="deleted"),
    pytest.param(empty, id="emptied"),
    pytest.param(cut, id="cut after its comment"),
]


@pytest.mark.parametrize("lose", LOSSES)
def test_rules_stay_in_force_where_they_were_read(
    home: Path, tmp_path: Path, rules: Path, lose: Callable[[Path], None]
) -> None:
    """An open registry goes by the rules it knows: what was signed is served, the rest refused."""
    with Registry(home) as registry:
        assert len(registry.picture().wanted) == 1
        lose(rules)

        assert len(registry.picture().wanted) == 1
        with pytest.raises(UntrustedError, match="BP-S04"):
            registry.push(make_bundle(tmp_path / "b", name="n").folder, "t")


@pytest.mark.parametrize("lose", LOSSES)
def test_a_registry_that_had_rules_refuses_without_them(
    home: Path, tmp_path: Path, rules: Path, lose: Callable[[Path], None]
) -> None:
    """Opened without its rules it takes nothing and hands nothing out, and names both remedies."""
    lose(rules)
    with Registry(home) as registry:
        with pytest.raises(UntrustedError, match=r"restore-rules.* remove-rules"):
            registry.push(make_bundle(tmp_path / "b", name="n").folder, "t")
        assert registry.picture().wanted == ()
        assert "restore-rules" in registry.picture().failed[0].reason


def test_nothing_is_added_to_lost_rules(home: Path, rules: Path) -> None:
    """A command that changes rules does not begin with none where there were some."""
    rules.unlink()
    with Registry(home) as registry, pytest.raises(UntrustedError, match="restore-rules"):
        registry.trust.book.change(rules, BY_ANN, lambda file: trust_key(file, TRUST_ALICE))
    assert not rules.exists()


def test_lost_rules_are_brought_back(home: Path, rules: Path) -> None:
    """The file holds again what was in force, and an open registry takes note."""
    before = read_policy(rules)
    rules.unlink()
    with Registry(home) as registry:
        assert registry.picture().wanted == ()
        registry.trust.book.restore(rules, RuleChange(who="ann", action="restore_rules"))

        assert read_policy(rules) == before
        assert len(registry.picture().wanted) == 1


def test_rules_are_given_up_by_command_only(home: Path, tmp_path: Path, rules: Path) -> None:
    """After `remove` an open registry takes everything, and the audit log tells who and why."""
    with Registry(home) as registry, Registry(home) as other:
        change = RuleChange(who="ann", action="remove_rules", reason="a test machine")
        digest = digest_of(other.trust.policy())
        rules.unlink()
        before = other.change_counter()
        registry.trust.book.remove(rules, change)

        assert other.change_counter() > before
        other.push(make_bundle(tmp_path / "b", name="n").folder, "t")
        told = next(one for one in other.events() if one.action == "remove_rules")
        assert (told.who, told.reason) == ("ann", "a test machine")
        assert digest in told.detail
        with pytest.raises(NotFoundError):
            registry.trust.book.remove(rules, change)


def test_every_change_is_in_the_chain(home: Path, rules: Path) -> None:
    """A change by command names its author, an edit of the file is noted once, with digests."""
    with Registry(home) as registry:
        rules.write_text("unsigned: warn")
        registry.picture()
        registry.picture()
        registry.trust.book.change(
            rules, BY_ANN, lambda file: change_policy(file, Unsigned.REFUSE, None)
        )
        registry.picture()
        told = [one for one in registry.events() if one.model == audit.WHOLE_REGISTRY]
        with registry.database.reading() as connection:
            chain = audit.verify(connection)

    assert [(one.who, one.action) for one in told] == [
        ("ann", "set_policy"),
        (BY_HAND, "edit_rules"),
        (BY_HAND, "edit_rules"),
    ]
    warn, refuse = (
        digest_of(TrustPolicy(unsigned=one)) for one in (Unsigned.WARN, Unsigned.REFUSE)
    )
    assert told[0].detail == f"digest {refuse}, before: {warn}"
    assert told[0].reason == "audit of May"
    assert chain.broken == ""


def test_a_registry_without_rules_needs_none(home: Path, tmp_path: Path) -> None:
    """Where there never were rules, everything is taken, and nothing is noted of them."""
    with Registry(home) as registry:
        registry.push(make_bundle(tmp_path / "b").folder, "t")

        assert len(registry.picture().wanted) == 1
        assert [one.action for one in registry.events()] == ["pin_live", "push"]
