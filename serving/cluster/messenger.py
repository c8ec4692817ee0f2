"""Runs `serving.cluster.deploy`, the program that speaks to Ray, so that this process need not."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.cluster.names import Errand, Instance, encode_errand
from serving.cluster.ray_process import RayInstance, ray_environment
from serving.errors import NotReadyError
from serving.settings import Settings


class Messenger:
    """One run of the program. A context manager: at its end the program has ended, too."""

    def __init__(self, action: str, settings: Settings, record: RayInstance) -> None:
        """Start the program; it imports Ray while it waits for its errand.

        Args:
            action: `up` or `down`.
            settings: Of the instance.
            record: Of the instance; its address need not be known yet.
        """
        self._action = action
        self._settings = settings
        self._process = subprocess.Popen(  # noqa: S603  our own program
            (sys.executable, "-m", "serving.cluster.deploy", action),
            env=ray_environment(settings, record.instance, is_ours=record.is_ours),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:  # closes its pipes
            self._process.kill()

    def run(self, record: RayInstance, limit_s: float) -> None:
        """Hand over the errand and wait for its end.

        Raises:
            NotReadyError: It failed, in its own last words, or took too long.
        """
        instance = Instance(
            settings=self._settings, instance=record.instance, owns_cluster=record.is_ours
        )
        errand = encode_errand(Errand(instance=instance, address=record.address))
        try:
            output, _ = self._process.communicate(errand, timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise NotReadyError(
                f"Ray at {record.address} did not finish `{self._action}` within {limit_s:.0f} s: "
                f"see the logs in {record.temp_dir or 'its session folder'}"
            ) from error
        kept = kept_output(self._settings.log_dir / f"ray_{self._action}.log", output)
        if self._process.returncode:
            lines = output.decode(errors="replace").strip().splitlines() or ["no reason was given"]
            raise NotReadyError(f"{lines[-1]} ({kept})")


def kept_output(file: Path, output: bytes) -> str:
    """Keep what an errand has said, and say where: on a full disk its work counts all the same."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(output)
    except OSError as error:
        return f"its log cannot be kept in {file}: {error.strerror}"
    return f"log: {file}"
