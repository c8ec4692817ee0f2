"""Signed bundles: whoever signed vouches for every byte, and no changed byte goes unseen."""

import base64
import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.keys import SigningKey, read_public_key, read_signing_key, write_keys
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest
from serving.registry.bundles.packing import PackOrder, pack_bundle, renumber
from serving.registry.bundles.signatures import encoded_for_signing, statement
from serving.registry.bundles.signing import sign_bundle
from tests.fakes.bundles import CONFIG, PACKED_UTC, make_bundle

ALICE = SigningKey.new()
BOB = SigningKey.new()


def signed_bundle(folder: Path, *keys: SigningKey) -> Bundle:
    """A bundle with the signatures of some keys."""
    bundle = make_bundle(folder)
    for key in keys or (ALICE,):
        sign_bundle(bundle.folder, key)
    return bundle


def rewrite(file: Path, content: bytes) -> None:
    """Put other bytes into a file of a bundle, which is read-only."""
    file.chmod(0o644)
    file.write_bytes(content)


def test_the_encoding_is_that_of_dsse() -> None:
    """What is signed is the example of DSSE's specification, byte for byte."""
    found = encoded_for_signing("http://example.com/HelloWorld", b"hello world")

    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_are_of_bytes() -> None:
    """A type outside of ASCII counts as its UTF-8 bytes."""
    assert encoded_for_signing("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_signed_bundle_names_its_signers(tmp_path: Path) -> None:
    """A bundle read back tells who signed it; what it holds is what was packed."""
    bundle = signed_bundle(tmp_path, ALICE, BOB)

    found = read_bundle(bundle.folder)

    assert set(found.signers) == {ALICE.public, BOB.public}
    assert found.digest == bundle.digest


class LaterManifest(Manifest):
    """A manifest as a later Bascule may know it."""

    mood: str = ""


def test_a_later_bascule_finds_the_same_digests(tmp_path: Path) -> None:
    """A field that is added with a default changes neither address, content nor statement."""
    raw = (make_bundle(tmp_path).folder / MANIFEST_FILE).read_bytes()
    now, later = Manifest.model_validate_json(raw), LaterManifest.model_validate_json(raw)

    assert later.digest() == now.digest()
    assert later.content_digest() == now.content_digest()
    assert statement(later, raw) == statement(now, raw)


def test_signing_twice_changes_nothing(tmp_path: Path) -> None:
    """One key has one signature in an envelope."""
    bundle = signed_bundle(tmp_path)
    before = (bundle.folder / SIGNATURE_FILE).read_bytes()

    sign_bundle(bundle.folder, ALICE)

    assert (bundle.folder / SIGNATURE_FILE).read_bytes() == before


def test_the_statement_lists_every_file(tmp_path: Path) -> None:
    """The envelope holds an in-toto statement about the manifest and all that it lists."""
    bundle = signed_bundle(tmp_path)
    envelope = json.loads((bundle.folder / SIGNATURE_FILE).read_bytes())

    statement = json.loads(base64.b64decode(envelope["payload"]))

    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [item["name"] for item in statement["subject"]] == ["manifest.json", "model.echo"]
    assert statement["predicate"]["digest"] == {"sha256": bundle.digest}


def test_a_damaged_bundle_is_not_signed(tmp_path: Path) -> None:
    """Nobody vouches for files that are not those that were packed."""
    bundle = make_bundle(tmp_path)
    rewrite(bundle.folder / "model.echo", b"WEIGHTS")

    with pytest.raises(InvalidArgumentError, match=r"model\.echo is not the file"):
        sign_bundle(bundle.folder, ALICE)
    assert not (bundle.folder / SIGNATURE_FILE).exists()


def test_a_signature_does_not_follow_to_another_version(tmp_path: Path) -> None:
    """A renumbered bundle is not signed: its signer has not seen it."""
    bundle = signed_bundle(tmp_path)

    assert read_bundle(renumber(bundle, 2, tmp_path / "second").folder).signers == ()


def test_a_signature_of_another_bundle_is_refused(tmp_path: Path) -> None:
    """A valid signature laid beside another manifest does not vouch for it."""
    mine = signed_bundle(tmp_path / "a")
    other = make_bundle(tmp_path / "b", content=b"other")
    shutil.copy(mine.folder / SIGNATURE_FILE, other.folder)

    with pytest.raises(InvalidArgumentError, match=r"BP-S04 .*signs another bundle"):
        read_bundle(other.folder)


def test_a_signature_under_a_foreign_name_is_refused(tmp_path: Path) -> None:
    """A signature that carries another key than the one that made it is wrong."""
    bundle = signed_bundle(tmp_path)
    file = bundle.folder / SIGNATURE_FILE
    envelope = json.loads(file.read_bytes())
    envelope["signatures"][0] |= {
        "keyid": BOB.public.key_id,
        "publicKey": base64.b64encode(BOB.public.der).decode(),
    }
    rewrite(file, json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n")

    with pytest.raises(InvalidArgumentError, match=r"BP-S04 .*signature of key .* is wrong"):
        read_bundle(bundle.folder)


def test_a_manifest_cannot_list_the_signature(tmp_path: Path) -> None:
    """The signature's name is taken: no packed file can pose as it."""
    file = tmp_path / SIGNATURE_FILE
    file.write_bytes(b"{}")
    (tmp_path / "model.echo").write_bytes(b"weights")
    order = PackOrder(
        model_file=tmp_path / "model.echo",
        name="m",
        version=1,
        created_utc=PACKED_UTC,
        extra_files=(file,),
    )

    with pytest.raises(InvalidArgumentError, match="must not be manifest"):
        pack_bundle(order, tmp_path / "bundle")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for all examples of a property."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


CHANGES = ("flip", "insert", "space", "delete", "cut")


def changed(content: bytes, change: str, position: int, value: int) -> bytes:
    """Return other bytes than those given."""
    if not content:
        return bytes([value])
    where = position % len(content)
    before, byte, after = content[:where], content[where], content[where + 1 :]
    space = b" \n\t\r"[value % 4]
    middle = {
        "flip": bytes([byte ^ value]),
        "insert": bytes([value, byte]),
        "space": bytes([space, byte]),
        "delete": b"",
        "cut": b"",
    }
    return before + middle[change] + (b"" if change == "cut" else after)


@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    which=st.integers(0, 5),
    change=st.sampled_from(CHANGES),
    position=st.integers(0, 1 << 20),
    value=st.integers(1, 255),
)
def test_no_changed_byte_goes_unseen(
    folder: Path, contents: list[bytes], which: int, change: str, position: int, value: int
) -> None:
    """A byte changed, added or taken anywhere in a signed bundle makes it one that is refused."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        files = [Path(name) / f"{number}.echo" for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        order = PackOrder(
            model_file=files[0],
            name="m",
            version=1,
            created_utc=PACKED_UTC,
            config=CONFIG,
            extra_files=files[1:],
        )
        bundle = pack_bundle(order, Path(name) / "bundle")
        sign_bundle(bundle.folder, ALICE)
        there = sorted(bundle.folder.iterdir())
        victim = there[which % len(there)]
        rewrite(victim, changed(victim.read_bytes(), change, position, value))

        with pytest.raises(InvalidArgumentError):
            read_bundle(bundle.folder)


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Both halves come back from their files; only the owner can read the private one."""
    files = write_keys(ALICE, "alice", tmp_path / "keys")

    assert read_signing_key(files.private).public == ALICE.public
    assert read_public_key(files.public) == ALICE.public
    assert stat.S_IMODE(files.private.stat().st_mode) == 0o600
    assert files.key_id == ALICE.public.key_id
    assert len(files.key_id) == 32


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    """A name that is taken is refused, and what is there stays."""
    files = write_keys(ALICE, "k", tmp_path)

    with pytest.raises(AlreadyExistsError, match="exists"):
        write_keys(BOB, "k", tmp_path)
    assert read_signing_key(files.private).public == ALICE.public


def test_a_passphrase_is_needed_and_must_be_right(tmp_path: Path) -> None:
    """An encrypted key is read with its passphrase only, and the message says what to add."""
    file = write_keys(ALICE, "k", tmp_path, b"secret").private

    assert read_signing_key(file, b"secret").public == ALICE.public
    with pytest.raises(InvalidArgumentError, match="--passphrase-file"):
        read_signing_key(file)
    with pytest.raises(InvalidArgumentError, match="with this passphrase"):
        read_signing_key(file, b"wrong")


def test_only_ed25519_keys_are_taken(tmp_path: Path) -> None:
    """A key of another kind, a public key for a private one, and no key at all are refused."""
    other = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "ec.pem"
    file.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = write_keys(ALICE, "k", tmp_path).public

    with pytest.raises(InvalidArgumentError, match="Ed25519"):
        read_signing_key(file)
    with pytest.raises(InvalidArgumentError, match="no private key"):
        read_signing_key(public)
    with pytest.raises(InvalidArgumentError, match="no public key"):
        read_public_key(file)
    with pytest.raises(NotFoundError, match="cannot be read"):
        read_public_key(tmp_path / "missing.pem")
