"""Statistics as Triton's statistics extension prints them: every key is present."""

from serving.monitor.statistics import BatchStatistics, DurationSum, VersionStatistics


def triton_statistics(counted: VersionStatistics) -> dict[str, object]:
    """Return one entry of `model_stats`."""
    return {
        "name": counted.model,
        "version": str(counted.version),
        "last_inference": counted.last_inference_ms,
        "inference_count": counted.inference_count,
        "execution_count": counted.execution_count,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(counted.queue),
            "compute_input": _duration(counted.compute_input),
            "compute_infer": _duration(counted.compute_infer),
            "compute_output": _duration(counted.compute_output),
            "cache_hit": _duration(counted.cache_hit),
            "cache_miss": _duration(counted.cache_miss),
        },
        "response_stats": {},
        "batch_stats": [_batch(batch) for batch in counted.batches],
        "memory_usage": [],
    }


def _duration(total: DurationSum) -> dict[str, int]:
    return {"count": total.count, "ns": total.ns}


def _batch(batch: BatchStatistics) -> dict[str, object]:
    count = batch.execution_count
    return {
        "batch_size": batch.batch_rows,
        "compute_input": {"count": count, "ns": batch.compute_input_ns},
        "compute_infer": {"count": count, "ns": batch.compute_infer_ns},
        "compute_output": {"count": count, "ns": batch.compute_output_ns},
    }
