"""A local Ray head of our own: its processes, its ports, its folder, and the record of it.

Ray runs as detached processes that outlive the command that started them. Their environment
carries the instance's mark (see `instance_processes`) and the settings below, which Ray and Serve
read only when a process starts. Ray listens on the node's address, not on loopback alone, and
whoever speaks to it can run code: it is therefore never started without its token.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import psutil
import structlog

from runtimes.node_probe import probe
from runtimes.profile import HardwareProfile, resource_name
from runtimes.profile_fit import misfits
from serving.cluster.instance_processes import processes_of
from serving.errors import NotReadyError
from serving.niceness import let_session_stand_back, may_be_ended
from serving.registry.preflight.profiles import read_profiles
from serving.settings import Settings, inherited_environment

LEAN_ENV: Final = MappingProxyType(
    {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Without the head's GCS, everything that Ray started ends itself after this time.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "RAY_AUTH_MODE": "token",
        # Ray's agents rename themselves; without this the new name overwrites their environment
        # as the kernel shows it, and with it the instance's mark.
        "SPT_NOENV": "1",
    }
)
RAYLET: Final = "raylet"
NICENESS_NAME: Final = "RAY_worker_niceness"
ACTOR_NICENESS: Final = 10
"""Of Ray's workers while they start, which takes more CPU than anything else of a rollout."""
SESSION_NICENESS: Final = 5
"""A third of the CPU time of HAProxy's session, or a worker's: `benchmarks/swaps.py` chose it."""
STAND_BACK_AGAIN_S: Final = 0.1
STAND_BACK_TRIES: Final = 50
OBJECT_STORE_BYTES: Final = 128 << 20
USUAL_DASHBOARD_PORT: Final = 8265
START_LIMIT_S: Final = 120.0
START_LOCK: Final = "start.lock"
KEPT_RUN_FILES: Final = frozenset({"instance.lock", START_LOCK})
# Ray's longest socket path is `<folder>/session_<date>_<time>_<micros>_<pid>/sockets/plasma_store`.
MAX_TEMP_DIR_BYTES: Final = 107 - len(
    "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayInstance:
    """What `down` must know of an instance on Ray; kept in `run/ray.json` while it exists."""

    instance: str
    address: str = ""
    """`host:port` of the cluster's GCS; empty until Ray has started."""
    dashboard: str = ""
    """URL of Ray's dashboard; empty without one."""
    temp_dir: str = ""
    """Folder of Ray's sessions; empty for a cluster that is not ours."""
    is_ours: bool = True
    """Whether Ray itself was started by us, and ends with us."""


def record_path(settings: Settings) -> Path:
    """Where the record of the running instance is kept."""
    return settings.run_dir / "ray.json"


def read_record(settings: Settings) -> RayInstance | None:
    """Return the record of the instance in this home; None if there is none.

    Raises:
        NotReadyError: There is one, and it is damaged, as by a machine that lost its power.
    """
    path = record_path(settings)
    try:
        return msgspec.json.decode(path.read_bytes(), type=RayInstance)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise NotReadyError(
            f"{path}, the record of this home's instance on Ray, is damaged ({error}): if none "
            "runs, remove it"
        ) from error


def write_record(settings: Settings, record: RayInstance) -> None:
    """Keep the record; a reader sees the old one or the new one, nothing between."""
    path = record_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(record))
    fresh.replace(path)


def ray_environment(settings: Settings, instance: str, *, is_ours: bool = True) -> dict[str, str]:
    """The environment of Ray's processes and of every program that talks to them.

    Whoever runs a cluster of their own says by Ray's own variables how to reach it.
    """
    marks = {"BASCULE_HOME": str(settings.home), "BASCULE_INSTANCE": instance}
    inherited = {
        name: value
        for name, value in inherited_environment().items()
        if not name.startswith("BASCULE_")  # settings travel as one record, not by environment
    }
    return (_lean_environment() if is_ours else {}) | inherited | marks


def _lean_environment() -> dict[str, str]:
    """Our own Ray's settings; actors stand back until they have started, if they can end that.

    Ray's default of 15 for good would be handed down to the data plane.
    """
    return {**LEAN_ENV, NICENESS_NAME: str(ACTOR_NICENESS if may_be_ended() else 0)}


def start_head(settings: Settings, instance: str, *, with_dashboard: bool) -> RayInstance:
    """Start a Ray head for this home alone and return where it listens.

    Raises:
        NotReadyError: Ray does not start; whatever it did start is the caller's to end.
    """
    temp_dir = _fresh_temp_dir(settings)
    record = RayInstance(instance=instance, temp_dir=str(temp_dir))
    write_record(settings, record)
    environment = ray_environment(settings, instance)
    _ensure_token(environment)
    port = _port_for_dashboard() if with_dashboard else 0
    resources = advertised(read_profiles(settings.home / "profiles").values())
    command = _start_command(temp_dir, port, resources)
    _run_ray_start(command, environment, settings.log_dir / "ray_start.log")
    _end_client_server(instance)
    address = (temp_dir / "ray_current_cluster").read_text(encoding="utf-8").strip()
    record = RayInstance(
        instance=instance,
        address=address,
        dashboard=f"http://127.0.0.1:{port}" if with_dashboard else "",
        temp_dir=str(temp_dir),
    )
    write_record(settings, record)
    return record


def let_stand_back(instance: str) -> None:
    """Let all of our own Ray stand back: its processes share the session of `ray start`."""
    for process in processes_of(instance):
        with suppress(psutil.Error):
            if process.name() == RAYLET:
                _ask_to_stand_back(process.pid)


def _ask_to_stand_back(pid: int) -> None:
    for _ in range(STAND_BACK_TRIES):
        if let_session_stand_back(pid, SESSION_NICENESS):
            return
        time.sleep(STAND_BACK_AGAIN_S)
    log.warning("ray_does_not_stand_back")


def is_answering(address: str) -> bool:
    """Whether anything listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


def remove_run_files(settings: Settings, record: RayInstance) -> None:
    """Forget an instance that has ended; Ray's logs stay where home has room for them."""
    if record.temp_dir and not Path(record.temp_dir).is_relative_to(settings.home):
        shutil.rmtree(record.temp_dir, ignore_errors=True)
    for entry in settings.run_dir.iterdir():
        if entry.name in KEPT_RUN_FILES:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _fresh_temp_dir(settings: Settings) -> Path:
    """A folder for Ray's session, without those of earlier runs: short enough for its sockets."""
    inside = settings.home / "ray"
    shutil.rmtree(inside, ignore_errors=True)
    if len(str(inside).encode()) > MAX_TEMP_DIR_BYTES:
        return Path(tempfile.mkdtemp(prefix="bascule-"))
    inside.mkdir(parents=True, mode=0o700)
    return inside


def _ensure_token(environment: Mapping[str, str]) -> None:
    """Ray's token of this user, made when there is none: the `serve` and `ray` tools find it."""
    if environment["RAY_AUTH_MODE"] != "token" or "RAY_AUTH_TOKEN" in environment:
        return
    usual = Path("~/.ray/auth_token").expanduser()
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH", str(usual)))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(uuid.uuid4().hex + uuid.uuid4().hex, encoding="utf-8")


def _port_for_dashboard() -> int:
    """The usual port, so that tools find it without being told; another when it is taken."""
    for wanted in (USUAL_DASHBOARD_PORT, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise NotReadyError("no free TCP port for Ray's dashboard: start with --no-dashboard")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _start_command(
    temp_dir: Path, dashboard_port: int, resources: Mapping[str, float]
) -> tuple[str, ...]:
    dashboard: tuple[str, ...] = ("--include-dashboard=false",)
    if dashboard_port:
        dashboard = (
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard_port}",
        )
    return (
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--port=0",
        # Each default is one fixed port, or a range, for all clusters of the machine.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        f"--ray-client-server-port={_free_port()}",
        "--include-log-monitor=false",  # it sends workers' output to drivers: we have none
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={temp_dir}",
        f"--resources={json.dumps(resources)}",
        "--disable-usage-stats",
        "--log-style=record",
        *dashboard,
    )


def advertised(profiles: Iterable[HardwareProfile]) -> dict[str, float]:
    """Return Ray's custom resources of this node: one for each hardware profile that it fits."""
    facts = probe()
    return {resource_name(profile): 1.0 for profile in profiles if not misfits(profile, facts)}


def _run_ray_start(command: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            ended = subprocess.run(  # noqa: S603  Ray's own command, fixed arguments
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=START_LIMIT_S,
                check=False,
                start_new_session=True,
            )
    except subprocess.TimeoutExpired as error:
        raise NotReadyError(f"Ray did not start within {START_LIMIT_S:.0f} s: see {log}") from error
    if ended.returncode:
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]
        raise NotReadyError(f"Ray did not start: {last[:300]} (all of it in {log})")


def _end_client_server(instance: str) -> None:
    """End the `ray://` endpoint: nobody here uses it, and `ray start` cannot be told to skip it."""
    for process in processes_of(instance):
        with suppress(psutil.Error):
            if "ray.util.client.server" in process.cmdline():
                process.terminate()
