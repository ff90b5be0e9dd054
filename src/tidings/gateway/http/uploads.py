"""Uploads: one file out of a multipart body, a piece at a time, as it arrives."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from tidings.domain.errors import InvalidInput, LimitExceeded, TidingsError
from tidings.gateway.http.bodies import check_characters
from tidings.gateway.http.problems import Problem

FIELD = b"file"
ENVELOPE_BYTES_MAX = 16 * 1024
FILE_NAME_CHARACTERS_MAX = 255
PIECE_SECONDS = 30.0
_CONTROL = {*range(32), 127}


@dataclass(slots=True)
class _Part:
    """The part being read: its headers, and the pieces of it that nobody has taken yet."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)


class Upload:
    """A multipart body with the one part `file`.

    Call `open` for the file's name, then take `chunks` to the end.
    """

    def __init__(self, request: Request, bytes_max: int) -> None:
        self._body = request.stream()
        self._bytes_max = bytes_max
        self._part = _Part()
        self._file_name: str | None = None
        self._pieces: deque[bytes] = deque()
        self._received = 0
        self._file_bytes = 0
        self._ended = False
        self._parser = self._new_parser(_boundary(request))

    async def open(self) -> str:
        """Return the name of the file, as soon as it is known.

        Raises:
            TidingsError: there is no such file, or the body is not multipart.
        """
        while self._file_name is None and await self._advance():
            pass
        if self._file_name is None:
            raise InvalidInput("file_missing", "Send one part named `file`, with a file name.")
        return self._file_name

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content of the file.

        Raises:
            LimitExceeded: `file_too_large`, as soon as one byte too many arrives.
            TidingsError: the body breaks off, stalls or is not multipart.
        """
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if not await self._advance():
                return

    async def _advance(self) -> bool:
        """Read one piece of the body; False at its proper end."""
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                piece = await anext(self._body, b"")
            self._received += len(piece)
            self._parser.write(piece)
        except TimeoutError:
            raise Problem("body_too_slow", "The upload stalled.", status=408) from None
        except (FormParserError, ClientDisconnect) as error:
            raise _broken() from error
        if self._received - self._file_bytes > ENVELOPE_BYTES_MAX:
            raise Problem("bad_multipart", "The body holds more than one file.", status=400)
        if not piece and not self._ended:
            raise _broken()
        return bool(piece)

    def _new_parser(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _broken() from error

    # -- what the parser reports -------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._part = _Part()
        if self._file_name is not None:
            raise Problem("bad_multipart", "Send one file at a time.", status=400)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _on_header_end(self) -> None:
        self._part.headers[bytes(self._part.name).lower()] = bytes(self._part.value)
        self._part.name.clear()
        self._part.value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition"))
        if options.get(b"name") != FIELD or b"filename" not in options:
            raise InvalidInput("file_missing", "Send one part named `file`, with a file name.")
        self._file_name = _shown_name(options[b"filename"])

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._file_bytes += end - start
        if self._file_bytes > self._bytes_max:
            raise LimitExceeded(
                "file_too_large", f"A file has at most {self._bytes_max} bytes.", status=413
            )
        self._pieces.append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Problem("unsupported_media_type", "Send `multipart/form-data`.", status=415)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _broken()
    return boundary


def _shown_name(raw: bytes) -> str:
    """Return the last step of a client's path: a name to show, never a path to open.

    Raises:
        InvalidInput: `invalid_text`: it holds control characters or is not UTF-8.
    """
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_text", "The file's name is not UTF-8.") from error
    check_characters(name)
    if any(ord(character) in _CONTROL for character in name):
        raise InvalidInput("invalid_text", "The file's name holds control characters.")
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    return "unnamed" if last in {"", ".", ".."} else last[-FILE_NAME_CHARACTERS_MAX:]


def _broken() -> TidingsError:
    return Problem("bad_multipart", "The body is not complete multipart/form-data.", status=400)
