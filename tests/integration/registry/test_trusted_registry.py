"""A registry with rules: what is refused when it is pushed, and when it is handed out to load."""

from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import UntrustedError
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.bundles.signing import sign_bundle
from serving.registry.store import Registry
from serving.registry.trust.trust import TrustedKey, Unsigned
from serving.registry.trust.trust_file import TRUST_FILE, change_policy, trust_key, untrust_key
from tests.fakes.bundles import PACKED_UTC, make_bundle

ALICE = SigningKey.new()
BOB = SigningKey.new()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The registry's trust file: only versions that Alice has signed."""
    file = tmp_path / "home" / "registry" / TRUST_FILE
    trust_key(file, TrustedKey(key=ALICE.public, name="alice", models=("*",)))
    change_policy(file, Unsigned.REFUSE, None)
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the registry is."""
    return tmp_path / "home"


def signed(folder: Path, key: SigningKey = ALICE) -> Bundle:
    """A bundle of version 1 of m."""
    bundle = make_bundle(folder)
    sign_bundle(bundle.folder, key)
    return bundle


def exported(folder: Path) -> Bundle:
    """A signed bundle of a format that can run code; its file is never read here."""
    folder.mkdir()
    file = folder / "model.pt2"
    file.write_bytes(b"archive")
    order = PackOrder(model_file=file, name="m", version=1, created_utc=PACKED_UTC)
    bundle = pack_bundle(order, folder / "bundle")
    sign_bundle(bundle.folder, ALICE)
    return bundle


def reasons(registry: Registry) -> list[str]:
    """Why versions cannot be loaded."""
    return [item.reason for item in registry.picture().failed]


@pytest.mark.usefixtures("rules")
def test_only_signed_versions_get_in(home: Path, tmp_path: Path) -> None:
    """Unsigned and a stranger's: refused with the reason, and nothing is stored."""
    with Registry(home) as registry:
        with pytest.raises(UntrustedError, match=r"BP-S04 m:1: it is not signed"):
            registry.push(make_bundle(tmp_path / "a").folder, "t")
        with pytest.raises(UntrustedError, match=r"BP-S04 m:1: it is signed by unknown key"):
            registry.push(signed(tmp_path / "b", BOB).folder, "t")
        assert registry.versions() == ()
        registry.push(signed(tmp_path / "c").folder, "t")
        assert [spec.version for spec in registry.picture().wanted] == [1]


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("file", [MANIFEST_FILE, SIGNATURE_FILE])
def test_a_bundle_that_is_changed_in_the_registry_is_not_handed_out(
    home: Path, tmp_path: Path, file: str
) -> None:
    """A space more in the manifest or the signature, and the version fails; mended, it is back."""
    with Registry(home) as registry:
        pushed = registry.push(signed(tmp_path / "a").folder, "t")
        assert registry.picture().failed == ()
        place = pushed.folder / file
        before = place.read_bytes()
        place.chmod(0o644)
        place.write_bytes(before + b" ")

        assert registry.picture().wanted == ()
        assert "BP-S04" in reasons(registry)[0]
        registry.push(tmp_path / "a" / "bundle", "t")
        assert reasons(registry) == []
        assert place.read_bytes() == before


@pytest.mark.usefixtures("rules")
def test_a_signature_that_is_taken_away_is_missed(home: Path, tmp_path: Path) -> None:
    """Without its signature, a stored version is an unsigned one."""
    with Registry(home) as registry:
        pushed = registry.push(signed(tmp_path / "a").folder, "t")
        assert len(registry.picture().wanted) == 1
        (pushed.folder / SIGNATURE_FILE).unlink()

        assert "BP-S04 m:1: it is not signed" in reasons(registry)[0]


def test_a_change_of_the_rules_counts_at_once(home: Path, tmp_path: Path, rules: Path) -> None:
    """An open registry takes note of a key that is trusted no longer, and of one that is again."""
    with Registry(home) as registry:
        registry.push(signed(tmp_path / "a").folder, "t")
        before = registry.change_counter()

        gone = untrust_key(rules, "alice")
        assert registry.change_counter() > before
        assert "BP-S04" in reasons(registry)[0]
        trust_key(rules, gone)
        assert [spec.version for spec in registry.picture().wanted] == [1]


def test_rules_that_cannot_be_read_refuse(home: Path, tmp_path: Path, rules: Path) -> None:
    """A registry that was opened with a broken file takes nothing and hands nothing out."""
    bundle = signed(tmp_path / "a")
    with Registry(home) as registry:
        registry.push(bundle.folder, "t")
    rules.write_text("unsigned: [")

    with Registry(home) as registry:
        with pytest.raises(InvalidArgumentError, match="no YAML"):
            registry.push(bundle.folder, "t")
        assert "no YAML" in reasons(registry)[0]


def test_a_mistake_in_the_rules_stops_nothing_that_runs(
    home: Path, tmp_path: Path, rules: Path
) -> None:
    """While a registry is open, the rules before a mistake stay in force."""
    with Registry(home) as registry:
        registry.push(signed(tmp_path / "a").folder, "t")
        rules.write_text("unsigned: [")

        assert [spec.version for spec in registry.picture().wanted] == [1]
        with pytest.raises(UntrustedError):
            registry.push(make_bundle(tmp_path / "b", name="n").folder, "t")


def test_a_signature_can_follow(home: Path, tmp_path: Path, rules: Path) -> None:
    """A version pushed unsigned and then signed is the same version, with its signatures."""
    change_policy(rules, Unsigned.WARN, None)
    bundle = make_bundle(tmp_path / "a")
    with Registry(home) as registry:
        registry.push(bundle.folder, "t")
        assert "BP-S04" in registry.picture().wanted[0].warning

        for key in (ALICE, BOB):
            (bundle.folder / SIGNATURE_FILE).unlink(missing_ok=True)
            sign_bundle(bundle.folder, key)
            pushed = registry.push(bundle.folder, "t")
        assert not pushed.created
        assert registry.picture().wanted[0].warning == ""
        change_policy(rules, Unsigned.REFUSE, None)
        assert len(registry.picture().wanted) == 1


def test_what_can_run_code_is_handed_out_with_the_permission_only(
    home: Path, tmp_path: Path, rules: Path
) -> None:
    """Signed is not enough: the model must be on the allow-list, and stay on it."""
    change_policy(rules, Unsigned.ALLOW, None)
    bundle = exported(tmp_path / "a")
    with Registry(home) as registry:
        with pytest.raises(UntrustedError, match=r"BP-S02 m:1: .*allow-list"):
            registry.push(bundle.folder, "t")
        change_policy(rules, None, ("m",))
        registry.push(bundle.folder, "t")
        assert [spec.may_execute for spec in registry.picture().wanted] == [True]
        change_policy(rules, None, ())
        assert registry.picture().wanted == ()
        assert "BP-S02" in reasons(registry)[0]


@pytest.mark.usefixtures("rules")
def test_plain_formats_get_no_permission(home: Path, tmp_path: Path) -> None:
    """A format that cannot run code is never told that it may."""
    with Registry(home) as registry:
        registry.push(signed(tmp_path / "a").folder, "t")

        assert [spec.may_execute for spec in registry.picture().wanted] == [False]
