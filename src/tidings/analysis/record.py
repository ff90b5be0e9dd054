"""The canonical usage record: what every importer writes and every analysis reads."""

from enum import StrEnum

import msgspec


class FieldKind(StrEnum):
    """What a field holds; the value is its type in DuckDB."""

    TIME = "TIMESTAMP"
    TEXT = "VARCHAR"
    COUNT = "BIGINT"
    NUMBER = "DOUBLE"


class Field(msgspec.Struct, frozen=True):
    """A field of the record, and how people name it."""

    name: str
    kind: FieldKind
    label: str


RECORD = (
    Field("ts", FieldKind.TIME, "time of the request"),
    Field("provider", FieldKind.TEXT, "provider"),
    Field("model", FieldKind.TEXT, "model"),
    Field("operation", FieldKind.TEXT, "operation"),
    Field("input_tokens", FieldKind.COUNT, "input tokens, cached ones included"),
    Field("output_tokens", FieldKind.COUNT, "output tokens"),
    Field("cached_input_tokens", FieldKind.COUNT, "input tokens read from the cache"),
    Field("cache_write_tokens", FieldKind.COUNT, "input tokens written to the cache"),
    Field("reasoning_tokens", FieldKind.COUNT, "output tokens spent on reasoning"),
    Field("latency_ms", FieldKind.NUMBER, "latency, ms"),
    Field("ttft_ms", FieldKind.NUMBER, "time to the first token, ms"),
    Field("status", FieldKind.TEXT, "status"),
    Field("error_code", FieldKind.TEXT, "error code"),
    Field("attempt", FieldKind.COUNT, "attempt, counted from 1"),
    Field("request_id", FieldKind.TEXT, "request id"),
    Field("session_id", FieldKind.TEXT, "session"),
    Field("end_user", FieldKind.TEXT, "end user"),
    Field("feature", FieldKind.TEXT, "feature"),
    Field("tool", FieldKind.TEXT, "tool"),
    Field("api_key_label", FieldKind.TEXT, "API key"),
    Field("region", FieldKind.TEXT, "region"),
    Field("batch", FieldKind.TEXT, "batch"),
    Field("prompt_hash", FieldKind.TEXT, "hash of the prompt"),
    Field("prefix_hash", FieldKind.TEXT, "hash of the prompt's prefix"),
    Field("prefix_tokens", FieldKind.COUNT, "tokens of the prompt's prefix"),
    Field("cost_reported", FieldKind.NUMBER, "cost as reported, USD"),
    Field("quality_score", FieldKind.NUMBER, "quality score, 0 to 1"),
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
