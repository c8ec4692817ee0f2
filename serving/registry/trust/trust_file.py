"""`trust.yaml` of a registry: the rules that people review, and commands change.

::

    unsigned: refuse                 # allow (the default), warn or refuse
    keys:
      - id: 3f0c…                    # what `bascule keys new` printed
        name: alice
        public_key: MCowBQYDK2Vw…    # base64 of the key in DER: a PEM file's lines
        models: ["fraud-*"]
    may_execute: ["fraud-ranker"]    # models whose loading may run code that they carry

Without rules everything is taken, and nothing may execute. A file that is gone or empty holds none;
whether there should be some, the catalog knows (`serving.registry.trust.rule_book`).
"""

import base64
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.registry.bundles.bundle import replace_file
from serving.registry.bundles.keys import PublicKey
from serving.registry.trust.trust import TrustedKey, TrustPolicy, Unsigned
from serving.registry.yaml_text import read_yaml

TRUST_FILE: Final = "trust.yaml"
MAX_TRUST_BYTES: Final = 1 << 20
HEAD: Final = "# Whom this registry trusts. Commands rewrite this file: bascule keys --help.\n"

Stamp = tuple[int, int, int] | None
"""Size, time and inode of a file; None: there is none."""

Pattern = Annotated[str, Field(min_length=1, max_length=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Key(_Strict):
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    public_key: Annotated[str, Field(max_length=200)]
    models: tuple[Pattern, ...] = Field(min_length=1, max_length=1000, strict=False)


class _Trust(_Strict):
    unsigned: Unsigned = Field(Unsigned.ALLOW, strict=False)
    keys: tuple[_Key, ...] = Field((), max_length=1000, strict=False)
    may_execute: tuple[Pattern, ...] = Field((), max_length=1000, strict=False)


def find_policy(file: Path) -> TrustPolicy | None:
    """Read the rules; None: the file is gone, or says nothing but comments.

    Raises:
        InvalidArgumentError: The file cannot be read, or says something that is no rule.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_TRUST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
    try:
        said = _said(raw, str(file))
        return None if said is None else _policy(said, str(file))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{error.message}; correct the file, or remove it and run bascule keys restore-rules"
        ) from error


def read_policy(file: Path) -> TrustPolicy:
    """Read the rules; a file that is gone or empty holds none, whether or not it should.

    Raises:
        InvalidArgumentError: The file cannot be read, or says something that is no rule.
    """
    return find_policy(file) or TrustPolicy()


def parse_policy(raw: bytes, source: str) -> TrustPolicy:
    """Check and return rules.

    Raises:
        InvalidArgumentError: They are too long, no YAML, or a field is unknown or wrong.
    """
    said = _said(raw, source)
    return TrustPolicy() if said is None else _policy(said, source)


def _said(raw: bytes, source: str) -> object:
    """Return what rules say; None: nothing, comments apart."""
    if len(raw) > MAX_TRUST_BYTES:
        raise InvalidArgumentError(f"{source}: more than {MAX_TRUST_BYTES} bytes are no trust file")
    try:
        return read_yaml(raw)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{source} is no YAML: {error.message}") from error


def _policy(said: object, source: str) -> TrustPolicy:
    try:
        found = _Trust.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "policy"
        raise InvalidArgumentError(
            f"{source}: {field}: {first['msg']}, got {str(first['input'])[:80]!r}"
        ) from error
    return TrustPolicy(
        unsigned=found.unsigned,
        keys=tuple(_trusted(key, source) for key in found.keys),
        may_execute=found.may_execute,
    )


def trust_key(file: Path, trusted: TrustedKey) -> TrustPolicy:
    """Trust a key; what was said of the same key before is replaced."""
    with _change(file) as policy:
        others = [one for one in policy.keys if one.key != trusted.key]
        return write_policy(file, replace(policy, keys=(*others, trusted)))


def untrust_key(file: Path, name: str) -> TrustedKey:
    """Trust a key no longer.

    Args:
        file: The trust file.
        name: The key's name, its id, or the beginning of its id.

    Raises:
        NotFoundError: No key, or more than one, is trusted under that name.
    """
    with _change(file) as policy:
        gone = trusted_key(policy, name)
        write_policy(file, replace(policy, keys=tuple(one for one in policy.keys if one != gone)))
    return gone


def trusted_key(policy: TrustPolicy, name: str) -> TrustedKey:
    """Return the key that a name, an id, or the beginning of an id stands for.

    Raises:
        NotFoundError: No key, or more than one, is trusted under that name.
    """
    found = [one for one in policy.keys if name in (one.name, one.key.key_id)]
    found = found or [one for one in policy.keys if one.key.key_id.startswith(name)]
    if not name or len(found) != 1:
        known = ", ".join(f"{one.name} ({one.key.key_id})" for one in policy.keys)
        raise NotFoundError(
            f"{len(found)} trusted keys are called '{name}': trusted are {known or 'none'}"
        )
    return found[0]


def change_policy(
    file: Path, unsigned: Unsigned | None, may_execute: tuple[str, ...] | None
) -> TrustPolicy:
    """Change what is not about keys; None leaves a rule as it is."""
    with _change(file) as policy:
        return write_policy(file, changed_policy(policy, unsigned, may_execute))


def changed_policy(
    policy: TrustPolicy, unsigned: Unsigned | None, may_execute: tuple[str, ...] | None
) -> TrustPolicy:
    """Return rules with other ones about anything but keys; None leaves a rule as it is."""
    return replace(
        policy,
        unsigned=policy.unsigned if unsigned is None else unsigned,
        may_execute=policy.may_execute if may_execute is None else may_execute,
    )


def write_policy(file: Path, policy: TrustPolicy) -> TrustPolicy:
    """Write the rules in one go: a reader sees those before or these."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = policy_text(policy)
    checked = parse_policy(text.encode(), str(file))
    replace_file(file, text.encode(), file.parent, mode=0o644)
    return checked


class KeptFile:
    """A file that is changed together with something else: it can be brought back as it was."""

    def __init__(self, file: Path, folder: Path) -> None:
        """Remember the file, and a folder of our own for a copy of it; nothing is read yet."""
        self._file = file
        self._copy = folder / file.name
        self._before: Stamp = None
        self._after: Stamp = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Copy the file first: the disk may be full when it has to come back."""
        self._before = self._after = file_stamp(self._file)
        if self._before is not None:
            shutil.copy2(self._file, self._copy)
        try:
            yield
        finally:
            self._after = file_stamp(self._file)

    def bring_back(self) -> None:
        """Undo the block's change, unless somebody has changed the file again."""
        if self._after == self._before or file_stamp(self._file) != self._after:
            return
        if self._before is None:
            self._file.unlink()
        else:
            self._copy.replace(self._file)


def file_stamp(file: Path) -> Stamp:
    """Return what changes when a file is changed."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def policy_text(policy: TrustPolicy) -> str:
    """Return the rules as the file holds them."""
    values = {
        "unsigned": policy.unsigned.value,
        "keys": [
            {
                "id": one.key.key_id,
                "name": one.name,
                "public_key": base64.b64encode(one.key.der).decode(),
                "models": list(one.models),
            }
            for one in policy.keys
        ],
        "may_execute": list(policy.may_execute),
    }
    return f"{HEAD}{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}"


def _trusted(key: _Key, source: str) -> TrustedKey:
    try:
        public = PublicKey.from_der(base64.b64decode(key.public_key, validate=True))
    except (ValueError, InvalidArgumentError) as error:
        raise InvalidArgumentError(
            f"{source}: key '{key.name}': public_key '{key.public_key[:80]}' is no Ed25519 key in "
            "base64: take it from the key's .pub.pem file"
        ) from error
    if public.key_id != key.id:
        raise InvalidArgumentError(
            f"{source}: key '{key.name}' has the id {public.key_id} and not {key.id}: correct the "
            "one that is wrong"
        )
    return TrustedKey(key=public, name=key.name, models=key.models)


@contextmanager
def _change(file: Path) -> Iterator[TrustPolicy]:
    """Let one process at a time change the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_policy(file)
