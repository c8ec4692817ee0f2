"""Ed25519 keys: files in PEM, and the name that a key is known by.

A key's id is the beginning of the sha256 of its public half (SubjectPublicKeyInfo, DER). It is a
name for people and logs; whether two keys are the same is decided by all of their bytes.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from runtimes.errors import InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError

KEY_ID_CHARACTERS: Final = 32
RAW_KEY_BYTES: Final = 32
MAX_KEY_FILE_BYTES: Final = 16 << 10
PRIVATE_SUFFIX: Final = ".key.pem"
PUBLIC_SUFFIX: Final = ".pub.pem"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key that signatures are checked with."""

    der: bytes
    """SubjectPublicKeyInfo, in the one form that Ed25519 has."""

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Self:
        """Wrap a key."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return cls(key.public_bytes(serialization.Encoding.DER, form))

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """Check and wrap the bytes of a key.

        Raises:
            InvalidArgumentError: They are no Ed25519 key.
        """
        raw = der[-RAW_KEY_BYTES:]
        if len(raw) == RAW_KEY_BYTES:
            found = cls.of(Ed25519PublicKey.from_public_bytes(raw))
            if found.der == der:
                return found
        raise InvalidArgumentError(f"{len(der)} bytes are no Ed25519 public key")

    @classmethod
    def from_pem(cls, pem: bytes, source: str) -> Self:
        """Read a key in PEM.

        Args:
            pem: The bytes of a file.
            source: What to call it in messages.

        Raises:
            InvalidArgumentError: It is no public key, or one of another kind.
        """
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidArgumentError(
                f"{source} holds no public key in PEM: give the file that ends in {PUBLIC_SUFFIX}"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidArgumentError(
                f"{source} holds a {type(key).__name__}, and signatures are Ed25519: make a key "
                "with bascule keys new"
            )
        return cls.of(key)

    @property
    def key_id(self) -> str:
        """The name of the key."""
        return hashlib.sha256(self.der).hexdigest()[:KEY_ID_CHARACTERS]

    def pem(self) -> bytes:
        """Return the key as a file holds it."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key().public_bytes(serialization.Encoding.PEM, form)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the key's other half signed exactly that message."""
        try:
            self._key().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.der[-RAW_KEY_BYTES:])


class SigningKey:
    """A private key; it never shows its bytes but to the file that `write_keys` makes."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey.of(key.public_key())
        """What others check its signatures with."""

    @classmethod
    def new(cls) -> Self:
        """Make a key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return self._key.sign(message)

    def pem(self, passphrase: bytes = b"") -> bytes:
        """Return the private key as PKCS8, encrypted where a passphrase is given."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """Where a new key was written."""

    private: Path
    public: Path
    key_id: str


def write_keys(key: SigningKey, name: str, folder: Path, passphrase: bytes = b"") -> KeyFiles:
    """Write both halves of a key; only the owner can read the private one.

    Raises:
        AlreadyExistsError: One of the files is there: a key is never written over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / f"{name}{PRIVATE_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    for file in (private, public):
        if file.exists():
            raise AlreadyExistsError(f"{file} exists: choose another name, or move it away")
    _write(private, key.pem(passphrase), 0o600)
    _write(public, key.public.pem(), 0o644)
    return KeyFiles(private=private, public=public, key_id=key.public.key_id)


def read_signing_key(file: Path, passphrase: bytes = b"") -> SigningKey:
    """Read a private key in PEM.

    Raises:
        NotFoundError: There is no such file, or it cannot be read.
        InvalidArgumentError: It holds no Ed25519 private key, or the passphrase is wrong.
    """
    pem = read_key_file(file)
    try:
        key = serialization.load_pem_private_key(pem, passphrase or None)
    except TypeError as error:  # a passphrase is missing, or one too many
        need = "needs no passphrase" if passphrase else "is encrypted: add --passphrase-file FILE"
        raise InvalidArgumentError(f"{file} {need}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidArgumentError(
            f"{file} holds no private key in PEM that can be read"
            f"{' with this passphrase' if passphrase else ''}: give the file that ends in "
            f"{PRIVATE_SUFFIX}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidArgumentError(
            f"{file} holds a {type(key).__name__}, and bundles are signed with Ed25519: make a key "
            "with bascule keys new"
        )
    return SigningKey(key)


def read_public_key(file: Path) -> PublicKey:
    """Read a public key in PEM.

    Raises:
        NotFoundError: There is no such file, or it cannot be read.
        InvalidArgumentError: It holds no Ed25519 public key.
    """
    return PublicKey.from_pem(read_key_file(file), str(file))


def read_key_file(file: Path) -> bytes:
    """Return the bytes of a small file.

    Raises:
        NotFoundError: There is no such file, or it cannot be read.
        InvalidArgumentError: It is too large to be a key.
    """
    try:
        with file.open("rb") as stream:
            found = stream.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}") from error
    if len(found) > MAX_KEY_FILE_BYTES:
        raise InvalidArgumentError(
            f"{file} is larger than {MAX_KEY_FILE_BYTES} bytes: it is no key's file"
        )
    return found


def _write(file: Path, content: bytes, mode: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
