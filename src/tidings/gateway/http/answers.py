"""JSON answers, written by msgspec: what the log holds goes out as the bytes it is."""

from typing import Any

import msgspec
from fastapi import Response

_write = msgspec.json.Encoder().encode


class Json(Response):
    """A value as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _write(content)
