"""Logs: one JSON object a line on stderr; nothing in it can break the line."""

import logging

import msgspec


def configure(level: str) -> None:
    """Write what is at least this important."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It logs what tool servers do wrong, in their words; what comes of it is said elsewhere.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


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
