"""Triton's dynamic_batching → how calls wait: batch sizes, delay, priorities, timeouts, bounds."""

from collections.abc import Mapping
from dataclasses import replace

from protos.generated import model_config_pb2 as pb
from runtimes.errors import InvalidArgumentError
from serving.registry.policies.fairness_policy import ageing_s, client_header
from serving.registry.version import LevelPolicy, PriorityPolicy, QueuePolicy, TimeoutAction

US_PER_S = 1_000_000
WHERE = "dynamic_batching: "


def queue_policy(
    batching: pb.ModelDynamicBatching,
    max_batch_rows: int | None,
    parameters: Mapping[str, str],
) -> QueuePolicy:
    """Read a model's scheduling; the empty message is the policy of a model that says nothing.

    Args:
        batching: What the configuration says.
        max_batch_rows: Its max_batch_size; None where it is unsaid.
        parameters: The configuration's parameters, as texts.

    Raises:
        InvalidArgumentError: It contradicts itself.
    """
    for rows in batching.preferred_batch_size:
        if rows < 1 or (max_batch_rows is not None and rows > max_batch_rows):
            raise InvalidArgumentError(
                f"{WHERE}preferred_batch_size {rows} is not between 1 and "
                f"max_batch_size {max_batch_rows if max_batch_rows is not None else '(unsaid)'}"
            )
    queue = batching.default_queue_policy
    plain = QueuePolicy(
        preferred_batch_rows=tuple(sorted(set(batching.preferred_batch_size))),
        max_queue_delay_s=batching.max_queue_delay_microseconds / US_PER_S,
        max_queue_rows=0 if queue.max_queue_size else QueuePolicy().max_queue_rows,
        max_queue_calls=queue.max_queue_size,
        default_timeout_s=queue.default_timeout_microseconds / US_PER_S,
    )
    ageing = ageing_s(parameters, batching.priority_levels)
    priorities = _priorities(batching, client_header(parameters))
    if priorities is None:
        return plain
    return replace(
        plain,
        priorities=replace(priorities, ageing_s=ageing),
        default_timeout_s=0.0,  # each level has its own
        max_queue_calls=0,  # and so it has this
    )


def _priorities(batching: pb.ModelDynamicBatching, header: str) -> PriorityPolicy | None:
    """Return the levels; None where one queue in order of arrival does all that is asked."""
    count = batching.priority_levels
    default = _level_policy(batching.default_queue_policy)
    if count == 0:
        if batching.priority_queue_policy or batching.default_priority_level:
            raise InvalidArgumentError(
                f"{WHERE}default_priority_level and priority_queue_policy need priority_levels, "
                "which is 0: say how many levels there are"
            )
        if default.timeout_action is TimeoutAction.REJECT and not header:
            return None
        return PriorityPolicy(level_count=1, default_level=1, default=default, client_header=header)
    if not 1 <= batching.default_priority_level <= count:
        raise InvalidArgumentError(
            f"{WHERE}default_priority_level is {batching.default_priority_level}: a level from 1 "
            f"to priority_levels, {count}, is expected"
        )
    special = batching.priority_queue_policy
    for level in special:
        if not 1 <= level <= count:
            raise InvalidArgumentError(
                f"{WHERE}priority_queue_policy has level {level}: a level from 1 to "
                f"priority_levels, {count}, is expected"
            )
    if batching.preserve_ordering and count > 1:
        raise InvalidArgumentError(
            f"{WHERE}preserve_ordering and {count} priority_levels contradict each other: priority "
            "changes the order; drop one of the two"
        )
    return PriorityPolicy(
        level_count=count,
        default_level=batching.default_priority_level,
        default=default,
        special=tuple((level, _level_policy(special[level])) for level in sorted(special)),
        client_header=header,
    )


def _level_policy(policy: pb.ModelQueuePolicy) -> LevelPolicy:
    is_delay = policy.timeout_action == pb.ModelQueuePolicy.DELAY
    return LevelPolicy(
        timeout_action=TimeoutAction.DELAY if is_delay else TimeoutAction.REJECT,
        default_timeout_s=policy.default_timeout_microseconds / US_PER_S,
        may_override=policy.allow_timeout_override,
        max_calls=policy.max_queue_size,
    )
