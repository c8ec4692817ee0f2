"""Swaps under Locust's load: start an instance, run Locust without its window, keep its report.

    python -m benchmarks.locust.run [--swaps 20] [--mode standalone|ray]

Writes `locust_rollout_MODE.html` and the figures as CSV. Exits 1 when a request failed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command import add_results, command_parser, run_main
from benchmarks.instance import InstanceError, running_instance
from benchmarks.swap_models import push_models


def main() -> int:
    """Run it; the exit status is Locust's."""
    parser = command_parser("benchmarks.locust.run", __doc__)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    add_results(parser)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    named = options.results / f"locust_rollout_{options.mode}"
    with tempfile.TemporaryDirectory(prefix="locust-") as folder:
        (Path(folder) / "models").mkdir()
        try:
            with running_instance(Path(folder) / "models", mode=options.mode) as instance:
                push_models(instance, Path(folder))
                command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
                command += ["-f", str(Path(__file__).with_name("rollout.py"))]
                command += ["--host", f"http://{instance.http}", "--grpc-address", instance.grpc]
                command += ["--home", str(instance.home), "--swaps", str(options.swaps)]
                command += ["--html", f"{named}.html", "--csv", str(named)]
                status = subprocess.run(command, check=False).returncode
        except InstanceError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"written to {named}.html")
    return status


if __name__ == "__main__":
    run_main(main)
