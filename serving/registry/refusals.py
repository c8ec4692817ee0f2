"""What the registry refuses of a version: another content, traffic too early, files that went."""

import sqlalchemy as sql

from serving.errors import AlreadyExistsError, NotFoundError, UntrustedError
from serving.ids import VersionKey
from serving.registry import approval_rows
from serving.registry.approval import waiting
from serving.registry.bundles.manifest import Manifest
from serving.registry.catalog import RegisteredVersion


def require_same(manifest: Manifest, there: RegisteredVersion) -> None:
    """Let a version be what it was.

    Raises:
        AlreadyExistsError: It exists with other content.
    """
    if there.content_digest != manifest.content_digest():
        raise AlreadyExistsError(
            f"{there.model}:{there.version} exists with other content (digest {there.digest[:12]}, "
            f"this bundle {manifest.digest()[:12]}): a version never changes, so push this as a "
            "new version"
        )


def require_approved(connection: sql.Connection, key: VersionKey, live: int | None) -> None:
    """Let a version get traffic.

    Raises:
        UntrustedError: It waits for approvals.
    """
    missing = approval_rows.missing_count(connection, key)
    if missing:
        raise UntrustedError(
            f"{key} {waiting(key, missing)}: the live version stays {live or 'none'}"
        )


def require_files(row: RegisteredVersion) -> None:
    """Let a version be loaded.

    Raises:
        NotFoundError: Its files were collected.
    """
    if row.collected_utc is not None:
        raise NotFoundError(
            f"{row.model}:{row.version} was archived and its files were collected at "
            f"{row.collected_utc:%Y-%m-%d %H:%M} UTC: push its bundle again"
        )
