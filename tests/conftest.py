"""What holds for every test.

Hypothesis fails an example that takes long unless it is told not to. How long something takes is no
promise of a test: on a busy machine that alone would make good code fail.

Nor are its examples drawn anew each time: whether a change passes depends on the change. The search
for examples that nobody has met is a run of its own, `make explore`. A test that can afford only a
part of them names its part of `settings().max_examples`, and no number: it would be that of both.

Settings of whoever runs the tests are taken away, before any test: a `BASCULE_REGISTRY_URL` or
`BASCULE_BLOBS` would have tests write there. `BASCULE_HAPROXY` says only where a program is.
"""

import os
from pathlib import PurePosixPath
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("bascule", deadline=None, print_blob=True, derandomize=True)
settings.register_profile(
    "explore", deadline=None, print_blob=True, derandomize=False, max_examples=1000
)
settings.load_profile("bascule")

for variable in [*os.environ]:  # noqa: TID251  the tests' own process
    if variable.startswith("BASCULE_") and variable != "BASCULE_HAPROXY":
        del os.environ[variable]  # noqa: TID251  likewise

TOGETHER: Final = ("tests/e2e", "tests/integration/protocol", "tests/integration/hostile")
"""Folders whose tests share a server, or a machine's Ray: one process runs all of each."""


class FilesTogether(LoadScopeScheduling):
    """Gives each process of pytest whole files, in the order of the command line."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        folder = file.parent.as_posix()
        return folder if folder in TOGETHER else file.as_posix()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesTogether:
    """Say which tests run where, when several processes share them."""
    return FilesTogether(config, log)
