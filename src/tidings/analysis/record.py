"""The canonical usage record: what every importer writes and every analysis reads."""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a field holds; the value is its type in DuckDB."""

    TIME = "TIMESTAMP"
    TEXT = "VARCHAR"
    COUNT = "BIGINT"
    NUMBER = "DOUBLE"


class Field(msgspec.Struct, frozen=True):
    """A field of the record, and how people name it."""

    name: str
    kind: Kind
    label: str


RECORD = (
    Field("ts", Kind.TIME, "time of the request"),
    Field("provider", Kind.TEXT, "provider"),
    Field("model", Kind.TEXT, "model"),
    Field("operation", Kind.TEXT, "operation"),
    Field("input_tokens", Kind.COUNT, "input tokens, cached ones included"),
    Field("output_tokens", Kind.COUNT, "output tokens"),
    Field("cached_input_tokens", Kind.COUNT, "input tokens read from the cache"),
    Field("cache_write_tokens", Kind.COUNT, "input tokens written to the cache"),
    Field("reasoning_tokens", Kind.COUNT, "output tokens spent on reasoning"),
    Field("latency_ms", Kind.NUMBER, "latency, ms"),
    Field("ttft_ms", Kind.NUMBER, "time to the first token, ms"),
    Field("status", Kind.TEXT, "status"),
    Field("error_code", Kind.TEXT, "error code"),
    Field("attempt", Kind.COUNT, "attempt, counted from 1"),
    Field("request_id", Kind.TEXT, "request id"),
    Field("session_id", Kind.TEXT, "session"),
    Field("end_user", Kind.TEXT, "end user"),
    Field("feature", Kind.TEXT, "feature"),
    Field("tool", Kind.TEXT, "tool"),
    Field("api_key_label", Kind.TEXT, "API key"),
    Field("region", Kind.TEXT, "region"),
    Field("batch", Kind.TEXT, "batch"),
    Field("prompt_hash", Kind.TEXT, "hash of the prompt"),
    Field("prefix_hash", Kind.TEXT, "hash of the prompt's prefix"),
    Field("prefix_tokens", Kind.COUNT, "tokens of the prompt's prefix"),
    Field("cost_reported", Kind.NUMBER, "cost as reported, USD"),
    Field("quality_score", Kind.NUMBER, "quality score, 0 to 1"),
)

FIELDS = {field.name: field for field in RECORD}


class Dimension(StrEnum):
    """A field by which requests are grouped or filtered."""

    PROVIDER = "provider"
    MODEL = "model"
    OPERATION = "operation"
    FEATURE = "feature"
    TOOL = "tool"
    END_USER = "end_user"
    API_KEY_LABEL = "api_key_label"
    REGION = "region"
    STATUS = "status"
    ERROR_CODE = "error_code"
    SESSION_ID = "session_id"
    BATCH = "batch"
