"""An instance whose user may open few files: it is told what is missing, and what to do."""

import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.fakes.standalone_server import LIMIT_S, free_ports

FEW: Final = 64
BASCULE: Final = str(Path(sys.executable).with_name("bascule"))


def test_too_few_for_haproxy_are_told_with_their_remedy(tmp_path: Path) -> None:
    """In one sentence, and nothing is left running."""
    ports = free_ports(3)
    flags = zip(("--http", "--grpc", "--metrics"), ports, strict=True)
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FEW, FEW))
    ended = subprocess.run(
        [BASCULE, "serve", *(word for flag, port in flags for word in (flag, f"127.0.0.1:{port}"))],
        env=os.environ | {"BASCULE_HOME": str(tmp_path)},  # noqa: TID251  a test's own process
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert ended.returncode == 1
    assert "it may not open enough files: allow 1024 or more" in ended.stderr
    assert f"limit is {FEW}." in ended.stderr
