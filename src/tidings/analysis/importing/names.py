"""Which column is which field: by name, as the common exports write them."""

import re

from tidings.analysis.record import FIELDS

# The first name that a file has wins. `end_ts` and `first_token_ts` are not kept: durations are
# derived from them. A unit at the end (`_ms`, `_seconds`) is understood and need not be listed.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "ts": (
        "timestamp", "start_time", "started_at", "created_at", "request_time", "request_timestamp",
        "event_time", "datetime", "date_time", "arrival_time", "arrived_at", "created", "time",
        "start_time_unix_nano", "startedat", "start", "date",
    ),
    "end_ts": ("end_time", "ended_at", "completed_at", "finished_at", "end_time_unix_nano"),
    "first_token_ts": ("completion_start_time", "first_token_at", "first_token_time"),
    "provider": (
        "custom_llm_provider", "llm_provider", "model_provider", "gen_ai_provider_name",
        "gen_ai_system", "vendor",
    ),
    "model": (
        "model_name", "model_id", "provided_model_name", "gen_ai_response_model",
        "gen_ai_request_model", "response_model", "request_model", "deployment", "engine", "llm",
    ),
    "operation": ("call_type", "operation_name", "gen_ai_operation_name", "request_type"),
    "input_tokens": (
        "prompt_tokens", "context_tokens", "n_context_tokens_total", "prompt_token_count",
        "gen_ai_usage_input_tokens", "gen_ai_usage_prompt_tokens", "tokens_in", "tokens_input",
        "total_input_tokens", "input_token_count", "num_prefill_tokens", "request_tokens",
        "input_usage", "usage_input",
    ),
    "output_tokens": (
        "completion_tokens", "generated_tokens", "n_generated_tokens_total",
        "gen_ai_usage_output_tokens", "gen_ai_usage_completion_tokens", "candidates_token_count",
        "tokens_out", "tokens_output", "total_output_tokens", "output_token_count",
        "num_decode_tokens", "response_tokens", "output_usage", "usage_output",
    ),
    "cached_input_tokens": (
        "cached_tokens", "input_cached_tokens", "cache_read_input_tokens", "cache_read_tokens",
        "cached_prompt_tokens", "cached_content_token_count",
        "gen_ai_usage_cache_read_input_tokens",
        "prompt_tokens_details_cached_tokens", "cache_hit_tokens",
    ),
    "cache_write_tokens": (
        "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_input_tokens",
        "gen_ai_usage_cache_creation_input_tokens",
    ),
    "reasoning_tokens": ("output_reasoning_tokens", "thinking_tokens", "thoughts_token_count"),
    "latency_ms": (
        "latency", "duration", "response_time", "elapsed", "total_time", "request_duration",
        "e2e_latency", "total_latency", "end_to_end_latency",
    ),
    "ttft_ms": ("ttft", "time_to_first_token", "first_token_latency", "time_to_first"),
    "status": ("status_code", "http_status", "outcome", "result_status", "finish_status", "level"),
    "error_code": ("error_type", "error", "exception", "error_class"),
    "attempt": ("attempt_number", "try", "retry_attempt", "attempts"),
    "request_id": ("id", "call_id", "litellm_call_id", "trace_span_id", "span_id", "generation_id"),
    "session_id": ("session", "conversation_id", "thread_id", "trace_id", "chat_id"),
    "end_user": ("user", "user_id", "customer", "customer_id", "enduser", "userid"),
    "feature": (
        "feature_name", "use_case", "usecase", "workflow", "application", "app", "product",
        "service", "service_name", "trace_name", "task",
    ),
    "tool": ("tool_name", "function", "function_name", "gen_ai_tool_name"),
    "api_key_label": ("api_key_name", "key_alias", "api_key_alias", "api_key_id", "key_name"),
    "region": ("location", "aws_region", "cloud_region"),
    "batch": ("is_batch", "processing"),
    "prompt_hash": ("prompt_sha256", "request_hash", "input_hash", "prompt_digest", "cache_key"),
    "prefix_hash": ("prompt_prefix_hash", "system_prompt_hash"),
    "prefix_tokens": ("prompt_prefix_tokens", "system_prompt_tokens"),
    "cost_reported": (
        "cost", "cost_usd", "spend", "response_cost", "total_cost", "calculated_total_cost",
        "amount_value", "price", "price_usd", "usd", "cost_cents", "spend_cents",
    ),
    "quality_score": ("quality", "score", "eval_score", "rating", "grade"),
}  # fmt: skip

_UNITS = {
    "ms": 1.0, "msec": 1.0, "millis": 1.0, "milliseconds": 1.0,
    "s": 1e3, "sec": 1e3, "secs": 1e3, "seconds": 1e3,
    "us": 1e-3, "micros": 1e-3, "microseconds": 1e-3,
    "ns": 1e-6, "nanos": 1e-6, "nanoseconds": 1e-6,
}  # fmt: skip
_DURATIONS = frozenset({"latency_ms", "ttft_ms"})


def normalised(name: str) -> str:
    """Return `ContextTokens`, `context-tokens` and `usage.contextTokens` in one spelling."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def candidates(columns: list[str]) -> list[tuple[str, int]]:
    """Return (field, number of the column) pairs, the most telling name of a field first.

    A whole name counts before the last part of a nested one. Each pair is possible, not yet taken.
    """
    whole = [_spellings(column, last_part=False) for column in columns]
    parts = [_spellings(column, last_part=True) for column in columns]
    found = []
    for field, names in SYNONYMS.items():
        wanted = [n for n in (field, *names) if n in FIELDS or n in names]
        for spellings in (whole, parts):
            for name in wanted:
                plain = normalised(name)
                found += [
                    (field, number)
                    for number, spelling in enumerate(spellings)
                    if plain == spelling[0] or (field in _DURATIONS and plain == spelling[1])
                ]
    return list(dict.fromkeys(found))


def milliseconds_per_unit(column: str) -> float | None:
    """Return the factor that a unit in the column's name stands for, None when it has none."""
    return _UNITS.get(normalised(column).rpartition("_")[2])


def _spellings(column: str, *, last_part: bool) -> tuple[str, str]:
    """Return the name, and the name without its unit."""
    name = normalised(column.rpartition(".")[2] if last_part else column)
    stem, _, unit = name.rpartition("_")
    return name, stem if unit in _UNITS else name
