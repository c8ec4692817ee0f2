"""Run wrk and h2load for some seconds, and read what they saw. Failures are counted, never hidden.

A gRPC error is an HTTP 200 with an empty body, which h2load takes for a success. So the bytes of
all replies must be the bytes of one right reply times the requests.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import quantiles
from typing import Final

GRPC_PATH: Final = "/inference.GRPCInferenceService/ModelInfer"
WARM_UP_REQUESTS: Final = 1000
UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
PACKAGES: Final = {"wrk": "wrk", "h2load": "nghttp2-client"}
GRACE_S: Final = 60.0
WRK_TIMEOUT_S: Final = 2
"""wrk's own."""


class LoadError(Exception):
    """A load generator is missing, or did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a load generator."""

    requests_per_s: float
    p50_s: float
    p99_s: float
    failures: str = ""
    """What went wrong, in the generator's own words; empty when every request succeeded."""
    sent_count: int = 0
    """All requests, those of the warm-up included: what processes spent is shared among them."""
    client_cpu_s: float = 0.0
    """Of the load generator, for these."""


def require_tools() -> None:
    """Check that both load generators are there.

    Raises:
        LoadError: One is missing; says how to install it on Debian.
    """
    missing = [tool for tool in PACKAGES if shutil.which(tool) is None]
    if missing:
        packages = " ".join(PACKAGES[tool] for tool in missing)
        raise LoadError(
            f"{' and '.join(missing)} not found on PATH: apt-get install {packages} "
            "(or your system's packages of wrk and nghttp2)"
        )


def http_load(
    address: str,
    path: str,
    script: Path,
    connections: int,
    seconds: float,
    *,
    timeout_s: int = WRK_TIMEOUT_S,
) -> Measured:
    """Run wrk with one thread; an answer that takes longer than `timeout_s` is a failure.

    Raises:
        LoadError: Not one answer came: there is no figure to tell, and no rate to go on with.
    """
    url = f"http://{address}{path}"
    limited = [f"-c{connections}", f"--timeout={timeout_s}s"]
    before_s = _children_cpu_s()
    warm_up = read_wrk(_wrk(url, script, limited, 1))
    measured = read_wrk(_wrk(url, script, limited, max(1, round(seconds))))
    if not measured.requests_per_s:
        raise LoadError(f"{url}: not one answer in {max(1, round(seconds))} s")
    return replace(
        measured,
        sent_count=warm_up.sent_count + measured.sent_count,
        client_cpu_s=_children_cpu_s() - before_s,
    )


def grpc_load(
    address: str,
    body: Path,
    connections: int,
    seconds: float,
    *,
    http1: bool = False,
    streams: int = 1,
) -> Measured:
    """Run h2load with one thread; `http1` is how workers take gRPC, without streams then."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests.tsv"
        before_s = _children_cpu_s()
        one = _h2load(address, body, http1, ["-n1", "-c1"])
        _h2load(address, body, http1, [f"-n{WARM_UP_REQUESTS}", f"-c{connections}"])
        timed = [f"-c{connections}", f"-D{max(1, round(seconds))}", f"--log-file={log}"]
        many = _h2load(address, body, http1, [*timed, *([] if http1 else [f"-m{streams}"])])
        client_cpu_s = _children_cpu_s() - before_s
        measured = read_h2load(one, many, log.read_text(), connections * streams)
        return replace(
            measured,
            sent_count=measured.sent_count + WARM_UP_REQUESTS + 1,
            client_cpu_s=client_cpu_s,
        )


def read_wrk(text: str) -> Measured:
    """Read what wrk printed."""
    failures = [line.strip() for line in text.splitlines() if re.search("Non-2xx|Socket err", line)]
    return Measured(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        p50_s=_wrk_time(r"(?m)^ +50%\s+(\S+)", text),
        p99_s=_wrk_time(r"(?m)^ +99%\s+(\S+)", text),
        failures="; ".join(failures),
        sent_count=int(_found(r"(\d+) requests in", text)),
    )


def read_h2load(one: str, many: str, log: str, connections: int) -> Measured:
    """Read what h2load printed for one request and for many, and its log of the many.

    At the end of a timed run each stream may have received a reply that is not counted.
    """
    times_s = [int(line.split("\t")[2]) * 1e-6 for line in log.splitlines()]
    cuts = quantiles(times_s, n=100) if len(times_s) > 1 else [0.0] * 99
    done = int(_found(r"requests: .*?(\d+) done", many))
    failures = _h2load_failures(one) + _h2load_failures(many)
    least, each = _data_bytes(one) * done, _data_bytes(one)
    if not failures and not least <= _data_bytes(many) <= least + connections * each:
        failures.append(
            f"{done} replies have {_data_bytes(many)} bytes of data, expected {least} and at most "
            f"{connections * each} more: some are errors"
        )
    return Measured(
        requests_per_s=float(_found(r"finished in \S+, ([\d.]+) req/s", many)),
        p50_s=cuts[49],
        p99_s=cuts[98],
        failures="; ".join(failures),
        sent_count=done,
    )


def _h2load_failures(text: str) -> list[str]:
    requests = _found(r"(requests: .*)", text)
    statuses = _found(r"(status codes: .*)", text)
    failures = []
    if re.search(r"[1-9]\d* (failed|errored|timeout)", requests):
        failures.append(requests)
    if re.search(r"[1-9]\d* [345]xx", statuses):
        failures.append(statuses)
    if _data_bytes(text) == 0:
        failures.append("replies without data: gRPC errors")
    return failures


def _children_cpu_s() -> float:
    """Return the time on CPUs of all commands that have ended so far."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _data_bytes(text: str) -> int:
    return int(_found(r"\((\d+)\) data", text))


def _wrk_time(pattern: str, text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", _found(pattern, text)).groups()  # type: ignore[union-attr]  # wrk prints nothing else
    return float(number) * UNITS_S[unit]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise LoadError(f"no '{pattern}' in what the load generator printed:\n{text}")
    return match.group(1)


def _wrk(url: str, script: Path, limited: list[str], seconds: int) -> str:
    options = ["-t1", *limited, f"-d{seconds}s", "--latency", f"-s{script}"]
    return _output(["wrk", *options, url], seconds)


def _h2load(address: str, body: Path, http1: bool, options: list[str]) -> str:  # noqa: FBT001
    command = ["h2load", "-t1", f"-d{body}", "-Hte: trailers", "-Hcontent-type: application/grpc"]
    command += ["--h1"] if http1 else []
    return _output([*command, *options, f"http://{address}{GRPC_PATH}"], 0)


def _output(command: list[str], seconds: int) -> str:
    limit_s = seconds + GRACE_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{command[0]} has not ended within {limit_s:.0f} s") from error
    if done.returncode:
        raise LoadError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
