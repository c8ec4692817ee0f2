"""Bascule's stubs beside tritonclient's in one process."""

import subprocess
import sys

import pytest

OURS = "import protos.generated.open_inference_pb2_grpc"
THEIRS = "import tritonclient.grpc"


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours", "theirs"])
def test_both_imports_live_in_one_process(order: tuple[str, str]) -> None:
    """Both stubs can be imported into one process, whichever comes first."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(order)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
