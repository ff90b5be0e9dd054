"""Logs: one JSON object a line on stderr; nothing in it can break the line."""

import logging

import msgspec

TALKATIVE = ("anthropic", "google_genai", "httpcore2", "httpx2", "mistralai", "openai")
"""Libraries that log requests with their headers and prompts below `warning`."""

COMPLAINING = ("clickhouse_connect", "mcp", "temporalio.activity")
"""Libraries that log what others do wrong, at length or in their words; what comes of it we say."""


def configure(level: str) -> None:
    """Write what is at least this important; of libraries that repeat secrets, only warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    hush()


def hush() -> None:
    """Let libraries say no more than is fit for a log, and for who types a command."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in COMPLAINING:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class JsonLines(logging.Formatter):
    """Formats a record as JSON: time, level, who says it, what, and the error if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
