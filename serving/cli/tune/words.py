"""How schedulings are called, for people. Pure."""

from serving.registry.model_config.scheduling import Scheduling


def scheduling_text(one: Scheduling) -> str:
    """Return a scheduling in a line, for people."""
    workers = f"{one.instances} worker{'s' if one.instances > 1 else ''}"
    threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
    return f"{workers} of {threads}, {joining_text(one)}"


def joining_text(one: Scheduling) -> str:
    """Return how calls are joined, for people."""
    joining = one.joining
    parts = []
    if joining.preferred_rows:
        parts.append(f"preferred rows {', '.join(str(rows) for rows in joining.preferred_rows)}")
    if joining.max_queue_delay_us:
        parts.append(f"delay {joining.max_queue_delay_us / 1000:g} ms")
    return ", ".join(parts) or "as they come"
