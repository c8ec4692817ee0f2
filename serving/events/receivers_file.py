"""`events.yaml`: who is told of what happens here.

::

    source: /bascule/prod                # of every event; /bascule if left out
    receivers:
      - name: ops
        url: https://ops.example.com/hooks/bascule
        secret_file: /run/secrets/ops    # or secret_env: OPS_SECRET
        types: ["rollout.*", env.changed] # all if left out (bascule events types)
        min_severity: warning            # info if left out
        subjects: ["resnet/*"]           # all if left out
        allow_networks: [169.254.10.0/24]  # link-local and metadata addresses that may be asked
        ca_file: /etc/ssl/ours.pem       # the system's certificates if left out

Secrets are no part of it, so that it may be kept where everybody reads it.
"""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from runtimes.errors import InvalidArgumentError
from serving.events.address_guard import Network
from serving.events.receivers import DEFAULT_SOURCE, Receiver, Receivers
from serving.registry.announcing.event_types import Severity
from serving.registry.yaml_text import read_yaml
from serving.settings import whole_path

EVENTS_FILE: Final = "events.yaml"
MAX_FILE_BYTES: Final = 1 << 20
MAX_RECEIVERS: Final = 100


def _checked_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL is http://HOST/… or https://HOST/…")
    if parts.username or parts.password:
        raise ValueError("a URL holds no user and no password: the signature says who sends")
    if parts.port == 0:
        raise ValueError("a port is 1 to 65535")
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=300)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
Url = Annotated[str, Field(max_length=2000), AfterValidator(_checked_url)]


class _Receiver(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$")]
    url: Url
    secret_file: Path | None = None
    secret_env: Variable | None = None
    types: tuple[Pattern, ...] = Field(default=("*",), min_length=1, max_length=100)
    min_severity: Severity = Severity.INFO
    subjects: tuple[Pattern, ...] = Field(default=("*",), min_length=1, max_length=1000)
    allow_networks: tuple[str, ...] = Field(default=(), max_length=100)
    ca_file: Path | None = None

    @field_validator("secret_env")
    @classmethod
    def _is_no_setting(cls, name: str | None) -> str | None:
        if name is not None and name.startswith("BASCULE_"):
            raise ValueError("variables that begin with BASCULE_ are settings: choose another name")
        return name

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            ipaddress.ip_network(text)
        return texts

    @model_validator(mode="after")
    def _has_one_secret(self) -> "_Receiver":
        if (self.secret_file is None) is (self.secret_env is None):
            raise ValueError("a receiver has secret_file or secret_env: one of them")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1, max_length=300, pattern=r"^\S+$")] = DEFAULT_SOURCE
    receivers: tuple[_Receiver, ...] = Field(default=(), max_length=MAX_RECEIVERS)


class WatchedFile:
    """The file, read again when it has changed. Not thread-safe."""

    def __init__(self, file: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self._file = file
        self._state: tuple[int, int, int] | None = None
        self._found = Receivers()

    def read(self) -> Receivers:
        """Return what the file says now; blocking. Raises what `read_receivers` raises."""
        try:
            there = self._file.stat()
            state = (there.st_ino, there.st_mtime_ns, there.st_size)
        except OSError:  # reading says why
            state = None
        if state is None or state != self._state:
            self._found = read_receivers(self._file)
            self._state = state
        return self._found


def read_receivers(file: Path) -> Receivers:
    """Read who is told; a file that is not there names nobody.

    Raises:
        InvalidArgumentError: The file cannot be read, or says something that it cannot say.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Receivers()
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
    return parse_receivers(raw, file)


def parse_receivers(raw: bytes, file: Path) -> Receivers:
    """Read the file's text; raises what `read_receivers` raises.

    Args:
        raw: What the file holds.
        file: What to call it in messages; relative paths in it are beside it.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidArgumentError(f"{file}: it is larger than {MAX_FILE_BYTES} bytes")
    try:
        said = read_yaml(raw)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: it cannot be read as YAML: {error.message}") from error
    try:
        found = _File.model_validate({} if said is None else said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidArgumentError(f"{file}: {field}: {first['msg']}") from error
    _require_distinct([one.name for one in found.receivers], file)
    return Receivers(
        source=found.source, receivers=tuple(_receiver(one, file) for one in found.receivers)
    )


def _require_distinct(names: Sequence[str], file: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidArgumentError(f"{file}: two receivers are called '{twice[0]}': name one anew")


def _receiver(found: _Receiver, file: Path) -> Receiver:
    networks: list[Network] = [ipaddress.ip_network(text) for text in found.allow_networks]
    return Receiver(
        name=found.name,
        url=found.url,
        secret_file=_beside(file, found.secret_file),
        secret_env=found.secret_env or "",
        types=found.types,
        min_severity=found.min_severity,
        subjects=found.subjects,
        allow_networks=tuple(networks),
        ca_file=_beside(file, found.ca_file),
    )


def _beside(file: Path, named: Path | None) -> Path | None:
    if named is None:
        return None
    is_home = str(named).startswith("~")
    return file.absolute().parent / (whole_path(named, f"{file}:") if is_home else named)
