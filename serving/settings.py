"""`BASCULE_*` and flags become one frozen settings object: the only reader of the environment.

Order: flag > environment > default. An unknown `BASCULE_*` variable is an error that names the
nearest known one, so that a typo cannot silently do nothing.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runtimes.errors import InvalidArgumentError
from runtimes.misspelling import did_you_mean
from serving.errors import NotReadyError
from serving.host_port import HostPort, host_port

# Set by Bascule for the processes that it starts; never read as a setting.
INTERNAL_VARIABLES: Final = frozenset({"BASCULE_INSTANCE"})
SERVICE_LINK: Final = re.compile(  # what Kubernetes tells containers of Services called bascule…
    r"BASCULE(_[A-Z0-9_]+)?_(SERVICE_HOST=.*|SERVICE_PORT(_[A-Z0-9_]+)?=\d+"
    r"|PORT(_\d+_[A-Z]+)?=[a-z]+://.*|PORT_\d+_[A-Z]+_(PROTO|PORT|ADDR)=.*)"
)
MAX_SOCKET_PATH_BYTES: Final = 107  # sun_path of a unix socket, less its end mark


def _checked_address(text: str) -> str:
    try:
        host_port(text)
    except InvalidArgumentError as error:
        raise ValueError(error.message) from error
    return text


def _listed(given: object) -> object:
    """Read a list as a variable says it: texts between commas, or a list of JSON."""
    if not isinstance(given, str):
        return given
    if not given.strip():
        return ()
    if given.lstrip().startswith("["):
        try:
            return json.loads(given)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"starts like a list of JSON, and is none: {error}") from error
    items = tuple(item.strip() for item in given.split(","))
    if "" in items:
        raise ValueError("an item is empty: write a,b")
    return items


T = TypeVar("T")
Address = Annotated[str, AfterValidator(_checked_address)]
# pydantic-settings itself reads nothing but JSON, and its errors are not those of a validator.
ListOf = Annotated[tuple[T, ...], NoDecode, BeforeValidator(_listed)]


class _Environment(BaseSettings):
    """The variables and their bounds; `to_settings` gives the inner record."""

    model_config = SettingsConfigDict(env_prefix="BASCULE_", extra="forbid", frozen=True)

    home: Path = Field(Path("~/.bascule"), description="the one folder of state")
    http: Address = Field("127.0.0.1:8000", description="HTTP listener")
    grpc: Address = Field("127.0.0.1:8001", description="gRPC listener")
    metrics: Address = Field("127.0.0.1:8002", description="metrics listener")
    model_repository: Path | None = Field(None, description="models in Triton's layout")
    model_control_mode: Literal["none", "explicit", "poll"] = Field(
        "none", description="what of the repository is loaded, and by whom"
    )
    load_model: ListOf[str] = Field(
        (), description="explicit mode: loaded at start, as a,b; * is all"
    )
    allow_load_overrides: bool = Field(
        False,  # noqa: FBT003  a default
        description="explicit mode: a load request may bring a configuration and files",
    )
    repository_poll_s: float = Field(15.0, gt=0, le=86_400, description="poll mode: seconds")
    server_id: str = Field("triton", min_length=1, description="name in server metadata")
    strict_readiness: bool = Field(
        True,  # noqa: FBT003  a default
        description="ready while every version is; else once each has loaded, or failed",
    )
    max_request_bytes: int = Field(
        1 << 30, ge=1 << 10, le=(1 << 31) - 1, description="largest body that is read"
    )
    cache_size_bytes: int = Field(
        64 << 20, ge=0, description="kept answers of one worker's response cache; 0: none"
    )
    busy_poll_us: int = Field(
        100,
        ge=0,
        le=10_000,
        description="how long a worker looks for the next call before it sleeps; 0: not at all",
    )
    max_inflated_bytes: int = Field(
        64 << 20, ge=1 << 10, le=(1 << 31) - 1, description="what a compressed body may become"
    )
    system_shared_memory: bool = Field(
        False,  # noqa: FBT003  pydantic's default
        description="clients may share memory with workers; whoever reaches the ports can then "
        "read and write objects that the server may open",
    )
    cuda_shared_memory: bool = Field(
        False,  # noqa: FBT003  pydantic's default
        description="clients on this machine may share memory of GPUs with workers",
    )
    shared_memory_prefixes: ListOf[str] = Field(
        ("/",), min_length=1, description="keys of shared memory start with one of these, as /a,/b"
    )
    shared_pool_versions: int = Field(
        512, ge=1, le=10_000, description="versions that one shared worker hosts at most"
    )
    shared_model_bytes: int = Field(
        16 << 20, ge=0, description="isolation auto: larger model files get their own worker"
    )
    slow_run_s: float = Field(
        0.005, gt=0, description="isolation auto: a slower single row gets its own worker"
    )
    sticky_headers: ListOf[Annotated[str, Field(pattern="^[a-z0-9-]{1,100}$")]] = Field(
        ("bascule-key",),
        max_length=20,
        description="headers, in lower case, as a,b, whose value may decide who gets a candidate",
    )
    pool_slots: int = Field(256, ge=4, le=4096, description="pools that the edge can route to")
    dependencies: Literal["refuse", "warn", "isolate", "ignore"] = Field(
        "warn", description="where a bundle pins another package version than is installed"
    )
    haproxy: Path | None = Field(None, description="HAProxy binary instead of the packaged one")
    haproxy_threads: int = Field(1, ge=1, le=64, description="HAProxy's threads")
    drain_s: float = Field(30.0, ge=0, le=3600, description="longest wait for calls in flight")
    sequence_drain_s: float = Field(
        300.0, ge=0, description="a version whose successor serves stays so long for its sequences"
    )
    environment_look_s: float = Field(
        10.0, gt=0, le=3600, description="between two looks at libraries, driver, CPU and load"
    )
    registry_url: str = Field(
        "", description="the registry's database, as SQLAlchemy's URL; default: SQLite in the home"
    )
    blobs: str = Field(
        "", description="where bundles are kept: a folder or an fsspec URL; default: in the home"
    )
    events_file: Path | None = Field(
        None, description="who is told of rollouts and approvals; default: events.yaml in the home"
    )
    prediction_log: str = Field(
        "", description="where predictions are logged: a folder or an fsspec URL; empty: nowhere"
    )
    prediction_log_rate: float = Field(
        1.0, ge=0, le=1, description="share of calls that is logged; a model may say another one"
    )
    prediction_log_inputs: Literal["full", "hash", "none"] = Field(
        "full", description="what is logged of inputs: their bytes, their sha256, or neither"
    )
    prediction_log_bytes: int = Field(
        1 << 30, ge=1 << 20, description="the log's bound: the oldest records go first"
    )
    prediction_log_retention_s: float = Field(
        30 * 86_400.0, gt=0, description="older records of the log are removed"
    )
    drift_rows_per_s: float = Field(
        1000.0, ge=0, description="rows of each version, and worker, watched for drift; 0: none"
    )
    slo_file: Path | None = Field(
        None, description="what callers were promised (slo.yaml in home if left out)"
    )
    label_bytes: int = Field(
        256 << 20, ge=1 << 20, description="bound of the labels beside the log: the oldest go first"
    )
    label_grace_s: float = Field(
        7 * 86_400.0, gt=0, description="a label waits so long for its prediction to be logged"
    )
    drift_learn_rows: int = Field(
        0, ge=0, le=20_000, description="rows that a version without a reference learns one from"
    )
    trace_file: Path | None = Field(
        None, description="where calls are traced, once the protocol's trace settings say so"
    )
    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s@?]+)?$")] = Field(
        "", description="where spans of calls are sent, as http://127.0.0.1:4318; empty: nowhere"
    )
    otlp_share: float = Field(
        0.01, ge=0, le=1, description="share of the calls without a trace context that is traced"
    )
    access_log: Literal["off", "errors", "all"] = Field(
        "off", description="which requests HAProxy logs as JSON, in logs/haproxy.log of the home"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="logs")
    log_to_stderr: bool = Field(
        False,  # noqa: FBT003  a default
        description="bascule serve copies the logs of all its processes to standard error",
    )

    def to_settings(self) -> "Settings":
        """Return the inner record."""
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for name in ("http", "grpc", "metrics"):
            values[name] = host_port(values[name])
        for name in ("home", "trace_file", "events_file", "model_repository"):
            if values[name] is not None:
                values[name] = whole_path(values[name], f"BASCULE_{name.upper()}")
        return Settings(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Effective settings of one instance."""

    home: Path
    http: HostPort
    grpc: HostPort
    metrics: HostPort
    model_repository: Path | None
    model_control_mode: str
    load_model: tuple[str, ...]
    allow_load_overrides: bool
    repository_poll_s: float
    server_id: str
    strict_readiness: bool
    max_request_bytes: int
    max_inflated_bytes: int
    system_shared_memory: bool
    cuda_shared_memory: bool
    shared_memory_prefixes: tuple[str, ...]
    shared_pool_versions: int
    shared_model_bytes: int
    slow_run_s: float
    sticky_headers: tuple[str, ...]
    pool_slots: int
    dependencies: str
    haproxy: Path | None
    haproxy_threads: int
    drain_s: float
    sequence_drain_s: float
    log_level: str
    environment_look_s: float = 10.0
    trace_file: Path | None = None
    access_log: Literal["off", "errors", "all"] = "off"
    log_to_stderr: bool = False
    otlp_endpoint: str = ""
    otlp_share: float = 0.01
    events_file: Path | None = None
    cache_size_bytes: int = 64 << 20
    busy_poll_us: int = 100
    prediction_log: str = ""
    prediction_log_rate: float = 1.0
    prediction_log_inputs: Literal["full", "hash", "none"] = "full"
    prediction_log_bytes: int = 1 << 30
    prediction_log_retention_s: float = 30 * 86_400.0
    drift_rows_per_s: float = 1000.0
    slo_file: Path | None = None
    label_bytes: int = 256 << 20
    label_grace_s: float = 7 * 86_400.0
    drift_learn_rows: int = 0
    blobs: str = ""
    """Empty: in `home`."""
    registry_url: str = field(repr=False, default="")
    """Empty: SQLite in `home`. It may hold a password, so it is never printed as it is."""

    @property
    def run_dir(self) -> Path:
        """Sockets, pid files, route maps of the running instance."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        """Log files, one per process."""
        return self.home / "logs"

    @property
    def shares_memory(self) -> bool:
        """Whether clients may share memory of any kind."""
        return self.system_shared_memory or self.cuda_shared_memory

    @property
    def regions_file(self) -> Path:
        """The node's table of shared-memory regions."""
        return self.run_dir / "regions.json"

    @property
    def admin_socket(self) -> Path:
        """Where the admin API listens: only the owner of `home` can connect."""
        return self.run_dir / "admin.sock"


def load_settings(**flags: object) -> Settings:
    """Build the settings from flags (None: not given) and the environment.

    Raises:
        InvalidArgumentError: A value is out of bounds, a variable is unknown, `home` is too
            long for the unix sockets in it, or a package is missing that a setting needs.
    """
    _refuse_unknown(os.environ)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = _Environment(**given).to_settings()  # type: ignore[arg-type]  # checked there
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidArgumentError(
            f"setting '{name}': {said}, got {str(first['input'])[:80]!r} "
            f"(flag --{name.replace('_', '-')} or BASCULE_{name.upper()})"
        ) from error
    if settings.otlp_endpoint and not _can_send_spans():
        raise InvalidArgumentError(
            "BASCULE_OTLP_ENDPOINT is set, and the packages that send spans are not installed: "
            "pip install 'bascule[otel]'"
        )
    try:
        longest = len(str(settings.run_dir).encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"BASCULE_HOME {str(settings.home)!r} is not UTF-8: choose another path"
        ) from error
    longest += len("/w/s1234567-1234.sock")
    if longest > MAX_SOCKET_PATH_BYTES:
        raise InvalidArgumentError(
            f"BASCULE_HOME '{settings.home}' is too long for unix sockets ({longest} of "
            f"{MAX_SOCKET_PATH_BYTES} bytes): choose a shorter path"
        )
    return settings


def unusable_home(settings: Settings, error: OSError) -> NotReadyError:
    """Say that a home cannot be written to, and why."""
    return NotReadyError(
        f"BASCULE_HOME {settings.home} cannot be used: {error.strerror}; choose another"
    )


def _can_send_spans() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it is not there
        return False


def whole_path(path: Path, what: str) -> Path:
    """Return a path from the root on; `~` and `~USER` stand for homes.

    Args:
        path: As somebody wrote it; a relative one is taken from the current folder.
        what: Names it in the message.

    Raises:
        InvalidArgumentError: That user has no home here.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise InvalidArgumentError(
            f"{what} '{path}': no such user here has a home: write the whole path"
        ) from error


def without_password(url: str) -> str:
    """Return a URL that may be printed."""
    hidden = re.sub(r"^(\w[\w+]*://)?([^:/@]*):.*@", r"\1\2:***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", hidden)


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, for building a child's."""
    return dict(os.environ)


def described_settings() -> tuple[tuple[str, str, str], ...]:
    """(variable, default, meaning) of every setting: CONFIG.md's table is made from it."""
    return tuple(
        (f"BASCULE_{name.upper()}", _shown(described.default), described.description or "")
        for name, described in _Environment.model_fields.items()
    )


def _shown(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {f"BASCULE_{name.upper()}" for name in _Environment.model_fields} | INTERNAL_VARIABLES
    for variable, value in environment.items():
        is_link = SERVICE_LINK.fullmatch(f"{variable}={value}")
        if variable.startswith("BASCULE_") and variable not in known and not is_link:
            hint = did_you_mean(variable, known, "; ")
            raise InvalidArgumentError(f"unknown setting {variable}{hint}")
