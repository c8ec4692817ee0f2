"""A real Prometheus that scrapes a server, for as long as a test needs it."""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.standalone_server import free_ports
from tests.fakes.waiting import until

LIMIT_S = 90.0
is_installed = shutil.which("prometheus") is not None


@dataclass
class Prometheus:
    """A running one."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401  JSON
        """Ask its API; returns what it says, or None while it does not answer well."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=LIMIT_S) as reply:
                return json.loads(reply.read())["data"]
        except urllib.error.URLError:
            return None

    def query(self, expression: str) -> Any:  # noqa: ANN401  JSON
        """Evaluate an expression now; None: it is not valid."""
        found = self.get("query", query=expression)
        return None if found is None else found["result"]

    def until(self, expression: str) -> None:
        """Wait until an expression has a value."""
        until(lambda: self.query(expression), expression, limit_s=LIMIT_S)


@contextmanager
def scraping(target: str, job: str, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """Run it on one target, once a second, with a file of rules."""
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    prometheus = Prometheus(port)
    try:
        prometheus.until("up == 1")
        yield prometheus
    finally:
        process.terminate()
        process.wait(LIMIT_S)
