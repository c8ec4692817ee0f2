"""Install the servers that Bascule is compared with, each into an environment of its own.

python -m benchmarks.peers.install [NAME …] [--cache FOLDER] [--again]

What is there already is kept. What cannot be installed is said, with the reason, and the next one
is tried; exits 1 then. TorchServe needs Java on PATH besides.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.environments import DEFAULT_CACHE, PEERS, PeerError, install, is_installed


def main() -> int:
    """Install what the command line names."""
    parser = argparse.ArgumentParser(description="install the servers to compare with")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--again", action="store_true", help="make them afresh")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(PEERS)):
        parser.error(f"no peer is called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    failed = 0
    for name in options.names or PEERS:
        if is_installed(name, options.cache) and not options.again:
            print(f"{name}: kept")
            continue
        try:
            install(name, options.cache)
            print(f"{name}: installed", flush=True)
        except PeerError as error:
            failed = 1
            print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
