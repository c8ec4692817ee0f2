"""Keys, signatures and rules on the command line: what people type, and what they are told."""

import json
import stat
from pathlib import Path

import pytest
import yaml

from serving.cli.main import main
from tests.fakes.bundles import make_bundle


class Terminal:
    """Runs command lines and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object, status: int = 0) -> str:
        """Run one; return stdout, or stderr where it fails."""
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        printed = self._capsys.readouterr()
        assert int(ended.value.code or 0) == status, printed.err
        return printed.err if status else printed.out


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal with a home of its own."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys)


def test_from_a_key_to_a_verified_version(run: Terminal, tmp_path: Path) -> None:
    """Make a key, sign, trust, push: `verify` names the signer, in the folder and the registry."""
    bundle = make_bundle(tmp_path / "m").folder
    key = json.loads(run("keys", "new", "alice", "-o", tmp_path / "k", "--json"))
    run("keys", "policy", "--unsigned", "refuse")

    assert "BP-S04" in run("push", bundle, status=1)
    run("sign", bundle, "--key", key["private"])
    assert "none of them is trusted" in run("verify", bundle, status=1)
    assert key["key_id"] in run("verify", bundle, "--key", key["public"])
    run("keys", "trust", key["public"], "--model", "m")
    run("push", bundle)
    assert "signed by alice" in run("verify", "m:1")
    assert "trusted" in run("verify", bundle)


def test_verify_counts_a_key_as_a_push_does(run: Terminal, tmp_path: Path) -> None:
    """Who edits the rules may name a key twice, each time for other models: both count."""
    bundle = make_bundle(tmp_path / "m").folder
    key = json.loads(run("keys", "new", "alice", "-o", tmp_path / "k", "--json"))
    run("sign", bundle, "--key", key["private"])
    run("keys", "trust", key["public"], "--model", "m")
    run("keys", "policy", "--unsigned", "refuse")
    file = tmp_path / "home" / "registry" / "trust.yaml"
    rules = yaml.safe_load(file.read_text())
    rules["keys"].append(rules["keys"][0] | {"models": ["other"]})
    file.write_text(yaml.safe_dump(rules))

    run("push", bundle)
    assert "signed by alice" in run("verify", "m:1")


def test_a_changed_byte_is_one_sentence(run: Terminal, tmp_path: Path) -> None:
    """`verify` of a bundle that was changed says so and ends with status 1."""
    bundle = make_bundle(tmp_path / "m").folder
    key = json.loads(run("keys", "new", "alice", "--json"))
    run("sign", bundle, "--key", key["private"])
    manifest = bundle / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes() + b"\n")

    error = run("verify", bundle, "--key", key["public"], status=1)

    assert "BP-S04" in error
    assert error.count("\n") == 1


def test_keys_are_listed_with_what_they_count_for(run: Terminal, tmp_path: Path) -> None:
    """Own and trusted keys are shown once each; the private file is for its owner only."""
    run("keys", "new", "alice")
    public = tmp_path / "home" / "keys" / "alice.pub.pem"
    run("keys", "trust", public, "--model", "a", "--model", "b")

    listed = json.loads(run("keys", "list", "--json"))

    assert [(one["name"], one["models"]) for one in listed] == [("alice", ["a", "b"])]
    assert stat.S_IMODE(Path(listed[0]["private_file"]).stat().st_mode) == 0o600
    run("keys", "untrust", "alice")
    assert json.loads(run("keys", "policy", "--json"))["keys"] == []


def test_a_passphrase_is_asked_for_by_file(run: Terminal, tmp_path: Path) -> None:
    """An encrypted key signs with its passphrase, and says what is missing without it."""
    bundle = make_bundle(tmp_path / "m").folder
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    run("keys", "new", "alice", "--passphrase-file", secret)
    key = tmp_path / "home" / "keys" / "alice.key.pem"

    assert "--passphrase-file" in run("sign", bundle, "--key", key, status=1)
    run("sign", bundle, "--key", key, "--passphrase-file", secret)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden"])
def test_a_key_stays_in_its_folder(run: Terminal, name: str) -> None:
    """A key's name is a name, not a path."""
    assert "cannot be a key's name" in run("keys", "new", name, status=1)


def test_an_unsigned_archive_is_not_packed(run: Terminal, tmp_path: Path) -> None:
    """A format that can run code is refused with the remedy before anything reads it."""
    (tmp_path / "model.pt2").write_bytes(b"PK")

    error = run("pack", "model.pt2", "--name", "m", "--version", "1", status=1)

    assert "can run code" in error
    assert "--sign" in error


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz"])
def test_an_archive_is_pushed_with_its_signature(run: Terminal, tmp_path: Path, name: str) -> None:
    """A signed bundle travels as one file; what was signed is what arrives."""
    bundle = make_bundle(tmp_path / "m").folder
    key = json.loads(run("keys", "new", "alice", "--json"))
    run("sign", bundle, "--key", key["private"])
    run("export", bundle, "-o", name, "--format", "archive")

    run("push", name)

    assert "m:1 is what was signed" in run("verify", "m:1", "--key", key["public"])
    assert list((tmp_path / "home").rglob(".archive-*")) == []


def test_a_hostile_archive_is_one_sentence(run: Terminal, tmp_path: Path) -> None:
    """An archive that is none is refused with status 1 and a remedy."""
    (tmp_path / "m.tar").write_bytes(b"PK\x03\x04")

    error = run("push", "m.tar", status=1)

    assert "zip archive" in error
    assert error.count("\n") == 1


def test_rules_that_end_versions_need_consent(run: Terminal, tmp_path: Path) -> None:
    """Whom they would take out of service is named, and nothing changes without --yes."""
    key = json.loads(run("keys", "new", "alice", "--json"))
    signed = make_bundle(tmp_path / "s", name="signed").folder
    run("sign", signed, "--key", key["private"])
    run("keys", "trust", key["public"], "--model", "*")
    for bundle in (signed, *(make_bundle(tmp_path / v, version=int(v)).folder for v in "12")):
        run("push", bundle)

    error = run("keys", "policy", "--unsigned", "refuse", status=1)
    before = json.loads(run("keys", "policy", "--json"))["unsigned"]
    said = run("keys", "policy", "--unsigned", "refuse", "--yes")

    assert "out of service: m:1 (live), m:2; nothing was changed" in error
    assert (before, json.loads(run("keys", "policy", "--json"))["unsigned"]) == ("allow", "refuse")
    assert "models of a model repository are unsigned, and no rule touches them" in said
    run("keys", "policy", "--unsigned", "refuse")  # nothing that is served is left to lose


def test_lost_rules_are_never_everything_is_allowed(run: Terminal, tmp_path: Path) -> None:
    """Every command that asks the rules refuses when their file is gone, until one mends that."""
    bundle = make_bundle(tmp_path / "m").folder
    run("keys", "policy", "--unsigned", "refuse", "--reason", "from now on")
    (tmp_path / "home" / "registry" / "trust.yaml").unlink()

    for words in (("push", bundle), ("keys", "policy"), ("keys", "list"), ("verify", bundle)):
        assert "bascule keys restore-rules" in run(*words, status=1)
    assert "bascule keys restore-rules" in run("preflight", bundle, status=3)
    assert "refuse" in run("keys", "restore-rules")
    assert "BP-S04" in run("push", bundle, status=1)
    assert "no rules any more" in run("keys", "remove-rules", "--reason", "a test machine")
    run("push", bundle)
    told = json.loads(run("audit", "log", "--json"))
    assert [(one["action"], one["reason"]) for one in told[2:]] == [
        ("remove_rules", "a test machine"),
        ("restore_rules", ""),
        ("set_policy", "from now on"),
    ]
    run("audit", "verify")


def test_who_changed_keys_is_in_the_audit_log(run: Terminal) -> None:
    """Trusting a key and trusting it no longer are told, with the key."""
    key = json.loads(run("keys", "new", "alice", "--json"))
    run("keys", "trust", key["public"], "--model", "fraud-*")
    run("keys", "untrust", "alice", "--reason", "she left")

    told = json.loads(run("audit", "log", "--json"))
    assert [(one["action"], one["reason"]) for one in told] == [
        ("untrust_key", "she left"),
        ("trust_key", ""),
    ]
    assert all(key["key_id"] in one["detail"] for one in told)
    assert "untrust_key" in run("audit", "log")
