"""Where a version's data contract lies: in its bundle, or in its model's folder of a repository."""

from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.manifest import Manifest
from serving.registry.contracts.contract_file import MAX_CONTRACT_BYTES, parse_contract
from serving.registry.contracts.data_contract import DataContract

CONTRACT_FILE: Final = "contract.yaml"
MAX_KNOWN: Final = 10_000


def bundle_contract(folder: Path, manifest: Manifest) -> DataContract | None:
    """Read a bundle's contract; None: it has none.

    Raises:
        InvalidArgumentError: It cannot be read.
    """
    if not manifest.contract_file:
        return None
    found = read_contract_file(folder / manifest.contract_file)
    return found.with_training(manifest.lineage.trained_until)


def stored_contract(folder: Path, manifest: Manifest) -> DataContract | None:
    """Read a bundle's contract; one that cannot be read is BP-D01, which preflight says."""
    try:
        return bundle_contract(folder, manifest)
    except InvalidArgumentError:
        return None


class KnownContracts:
    """Contracts as they were read; read again when a file changes. For one caller at a time."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[Path, tuple[tuple[int, int, int], DataContract]] = {}

    def read(self, file: Path) -> DataContract:
        """Read a contract.

        Raises:
            InvalidArgumentError: It cannot be read, or is none.
        """
        try:
            status = file.stat()
        except OSError as error:
            raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        known_stamp, contract = self._known.get(file, (None, None))
        if contract is None or known_stamp != stamp:
            contract = read_contract_file(file)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[file] = (stamp, contract)
        return contract


def read_contract_file(file: Path) -> DataContract:
    """Read a contract.

    Raises:
        InvalidArgumentError: It cannot be read, or is none.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_CONTRACT_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return parse_contract(raw)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: {error.message}") from error
