"""JSON bodies: small, shallow, real text, and complete before anyone parses them."""

import asyncio
import json
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError
from tidings.gateway.http.problems import Problem, answer

BODY_BYTES_MAX = 256 * 1024
BODY_SECONDS = 10.0
DEPTH_MAX = 32
STREAMED = frozenset({("POST", "/api/files")})
"""Where the body is no JSON and is read by its route, piece by piece."""
