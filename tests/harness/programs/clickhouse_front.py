"""A double of a ClickHouse server: the real engine, `chdb`, behind as much of its HTTP as is used.

It takes statements in the body or in `query`, `param_...`, and JSON lines to insert; it answers
with the engine's bytes, or with its error and code. Other settings in the address are the server's
business and are passed over. Run it as `python clickhouse_front.py FOLDER PORT [PASSWORD]`.
"""

import base64
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb import session as engine

INSERT = re.compile(rb"\s*(insert into .*?) format (\w+)\s", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(r"\s+format\s+(\w+)\s*;?\s*$", re.IGNORECASE)
CODE = re.compile(r"Code: (\d+)")


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session: Any
    turn = Lock()
    password = ""

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping":
            self._answer(200, b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        if not self._is_known():
            self._refuse(
                516, "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            )
            return
        try:
            with self.turn:
                self._use(asked.get("database", "default"))
                self._answer(200, self._carry_out(asked, body))
        except RuntimeError as error:
            found = CODE.search(str(error))
            self._refuse(int(found[1]) if found else 1002, str(error))

    def _carry_out(self, asked: dict[str, str], body: bytes) -> bytes:
        text = asked["query"].encode() + b"\n" + body if "query" in asked else body
        if (insert := INSERT.match(text)) is not None:
            inserter = self.session.send_insert(insert[1].decode(), insert[2].decode())
            inserter.append(text[insert.end() :])
            inserter.finish()
            return b""
        sql = text.decode()
        found = FORMAT.search(sql)
        settings = asked.get("output_format_json_quote_64bit_integers")
        if settings is not None:
            self.session.query(f"set output_format_json_quote_64bit_integers = {int(settings)}")
        values = {k.removeprefix("param_"): v for k, v in asked.items() if k.startswith("param_")}
        default = asked.get(
            "default_format", self.headers.get("X-ClickHouse-Format", "TabSeparated")
        )
        answer = self.session.query(
            FORMAT.sub("", sql), found[1] if found else default, params=values or None
        )
        return bytes(answer.bytes())

    def _use(self, database: str) -> None:
        self.session.query(f"create database if not exists {database}")
        self.session.query(f"use {database}")

    def _is_known(self) -> bool:
        scheme, _, told = self.headers.get("Authorization", "").partition(" ")
        _, _, password = base64.b64decode(told).decode().partition(":")
        return scheme == "Basic" and password == self.password

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _refuse(self, code: int, message: str) -> None:
        self._answer(500, message.encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def _answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"X-ClickHouse-Timezone": "UTC", **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


def main() -> None:
    folder, port, *rest = sys.argv[1:]
    sessions: Any = engine.Session
    Front.session = sessions(folder)
    Front.password = rest[0] if rest else ""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Front)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
