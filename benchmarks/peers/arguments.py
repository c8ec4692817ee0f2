"""What every peer is told at its start: one model file, a folder of its own, its ports."""

import argparse
from pathlib import Path


def arguments(about: str | None) -> argparse.Namespace:
    """Parse the command line of a peer: `file`, `folder`, `port`, `grpc_port`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("file", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="what it writes goes there")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    return parser.parse_args()
