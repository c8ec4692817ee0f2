"""Runs the GPU tests on a node and keeps what it is: `python tests/gpu/run_on_node.py FOLDER`.

Needs the engines, numpy, ml_dtypes, onnx, nvidia-ml-py, psutil, pytest and hypothesis; nothing of
the server. Writes facts.json, pytest.txt and junit.xml into FOLDER; exit status is pytest's.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from runtimes.errors import EngineError  # noqa: E402  the checkout has to be on the path first
from runtimes.facts_json import facts_json  # noqa: E402  as above
from runtimes.node_probe import probe  # noqa: E402  as above


def main() -> int:
    """Run the tests, measure the node."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        facts = probe({"onnx", "torch"})
    except EngineError as error:
        sys.stdout.write(f"an engine does not answer: {error.message}\n")
        facts = probe()
    (folder / "facts.json").write_text(facts_json(facts) + "\n")
    arguments = ["tests/gpu", "-m", "gpu", "-rs", f"--junit-xml={folder.absolute() / 'junit.xml'}"]
    done = subprocess.run(  # noqa: PLW1510  its status is ours
        [sys.executable, "-m", "pytest", *arguments, *sys.argv[2:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (folder / "pytest.txt").write_text(done.stdout)
    sys.stdout.write(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
