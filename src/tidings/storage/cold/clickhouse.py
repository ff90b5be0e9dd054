"""Networked cold tier: ClickHouse over HTTP, by its own client on threads of our own.

Tables replace rows of the same key, and questions read them `final`: what was sent again is counted
once. Nothing that a user or a model has written is ever part of a statement.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from tidings.domain.context import Scope
from tidings.domain.errors import Failure, InvalidInput
from tidings.storage.cold.pieces import Piece, pieces
from tidings.storage.cold.port import Days, Erasure, unavailable
from tidings.storage.cold.questions import NamedQuery, Questions, Value, asked
from tidings.storage.cold.records import CONTENT, EVENTS, OF_USERS, TABLES, Batch, ColdTable

REQUEST_SECONDS_MAX = 5
CALL_SECONDS_MAX = 12.0
CALLS_MAX = 2
CALLS_WAITING_MAX = 16

R = TypeVar("R")

_KINDS: dict[object, str] = {
    str: "String",
    int: "Int64",
    float: "Float64",
    float | None: "Nullable(Float64)",
}
_SETTINGS = {
    "max_execution_time": REQUEST_SECONDS_MAX,
    "output_format_json_quote_64bit_integers": 0,
}
_INSERTING = {
    # An answer means that it is written, also where the account's profile gathers inserts.
    "async_insert": 0,
    "wait_for_async_insert": 1,
}
_FILES = {"ca_cert", "client_cert", "client_cert_key"}
_REFUSALS = {6, 26, 27, 33, 53, 70, 72, 117, 349, 469}
"""Codes that say that these data cannot be taken: they do not parse, or are of another type."""


class ClickHouseHistory(Questions):
    """A database of a ClickHouse server; `url` is `http(s)://user:password@host:port/database`.

    With `?ca_cert=`, whose certificates it may have; with `client_cert=` and `client_cert_key=`,
    what it knows us by: files, all of them.

    Raises:
        InvalidInput: `bad_setting`: the address is none, or names a file that is not there.
    """

    engine = "clickhouse"

    def __init__(self, url: str) -> None:
        self._address = _address(url)
        self._files = _files(self._address)
        self._threads = ThreadPoolExecutor(CALLS_MAX, thread_name_prefix="cold")
        self._opening = asyncio.Lock()
        self._client: Client | None = None
        self._calls = 0

    async def insert(self, batch: Batch) -> None:
        for table in TABLES:
            for piece in pieces(batch.of(table), by_day=False):
                await self._call(_insertion(table, piece))

    async def erase(self, erasures: list[Erasure]) -> None:
        threads: dict[str, list[str]] = defaultdict(list)
        for user_id, thread_id in erasures:
            if thread_id is None:
                await self._erase_user(user_id)
            else:
                threads[user_id].append(thread_id)
        for user_id, gone in threads.items():
            for table in CONTENT:
                sql = (
                    f"delete from {table.name} where user_id = {{user:String}}"
                    " and thread_id in {threads:Array(String)}"
                )
                await self._command(sql, {"user": user_id, "threads": gone})

    async def forget(self, before: str) -> None:
        sql = f"delete from {EVENTS.name} where day < {{before:Date}}"
        await self._command(sql, {"before": before})

    async def tidy(self) -> None:
        """Leave it to the server, which merges by itself."""

    async def check(self) -> str:
        version = await self._call(lambda client: client.raw_query("select version()"))
        return f"ClickHouse {version.decode().strip()}"

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def _erase_user(self, user_id: str) -> None:
        for table in OF_USERS:
            sql = f"delete from {table.name} where user_id = {{user:String}}"
            await self._command(sql, {"user": user_id})

    async def _ask(
        self, question: NamedQuery[R], scope: Scope, values: dict[str, Value], days: Days
    ) -> list[R]:
        ask = asked(question, scope, values, days, _source, _parameter)
        body = await self._call(
            lambda client: client.raw_query(ask.sql, ask.values, fmt="JSONCompactEachRow")
        )
        rows = msgspec.json.Decoder(question.row)
        return rows.decode_lines(body)

    async def _command(self, sql: str, values: dict[str, object]) -> None:
        await self._call(lambda client: client.raw_query(sql, values))

    async def _call(self, call: Callable[[Client], R]) -> R:
        """Have something asked of the server, on a thread; what takes too long is left behind."""
        if self._calls >= CALLS_WAITING_MAX:
            raise unavailable("too much is asked of it")
        self._calls += 1
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                client = await self._connected()
                return await self._on_thread(lambda: call(client))
        except TimeoutError as error:
            raise unavailable(f"no answer within {CALL_SECONDS_MAX:g} s") from error
        except DatabaseError as error:
            if error.code in _REFUSALS:
                message = f"The history cannot take this: ClickHouse error {error.code}."
                raise Failure("cold_refused", message) from error
            raise unavailable(_fault(error)) from error
        except ClickHouseError as error:
            raise unavailable(_fault(error)) from error
        finally:
            self._calls -= 1

    async def _connected(self) -> Client:
        async with self._opening:
            if self._client is None:
                self._client = await self._on_thread(self._connect)
            return self._client

    def _connect(self) -> Client:
        """Connect, and create the tables that are not there."""
        address = self._address
        client = get_client(
            interface=address.scheme,
            host=address.hostname or "",
            port=address.port or 0,
            username=unquote(address.username or "default"),
            password=unquote(address.password or ""),
            database=address.path.strip("/") or "default",
            connect_timeout=REQUEST_SECONDS_MAX,
            send_receive_timeout=REQUEST_SECONDS_MAX,
            query_retries=0,
            autogenerate_session_id=False,
            show_clickhouse_errors="scrub",
            client_name="tidings",
            tls_mode="strict" if address.password else "mutual",
            **self._files,
            settings=_SETTINGS,
        )
        there = client.raw_query(
            "select name from system.tables where database = currentDatabase()", fmt="TSV"
        )
        for table in TABLES:
            if table.name not in there.decode().split():
                client.command(creation(table))
        return client

    async def _on_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def creation(table: ColdTable) -> str:
    """Return the statement that creates a table; of the same key the newest row counts."""
    columns = ", ".join(
        f"{name} {'Date' if name == 'day' else _KINDS[kind]}"
        for name, kind in table.columns.items()
    )
    return (
        f"create table if not exists {table.name} ({columns})"
        " engine = ReplacingMergeTree(exported_at) partition by toYYYYMM(day)"
        f" order by ({', '.join(table.key)})"
    )


def _insertion(table: ColdTable, piece: Piece) -> Callable[[Client], object]:
    settings = _INSERTING | {"insert_deduplication_token": f"{table.name}-{piece.name(table)}"}
    return lambda client: client.raw_insert(
        table.name,
        list(table.columns),
        insert_block=piece.lines(),
        fmt="JSONEachRow",
        settings=settings,
    )


def _address(url: str) -> SplitResult:
    address = urlsplit(url)
    try:
        is_whole = address.scheme in {"http", "https"} and address.hostname and address.port
    except ValueError:
        is_whole = False
    if not is_whole:
        raise InvalidInput(
            "bad_setting",
            "TIDINGS_COLD_URL must be http(s)://user:password@host:port/database.",
        )
    return address


def _files(address: SplitResult) -> dict[str, Any]:
    """Return what the address says of certificates."""
    files: dict[str, Any] = dict(parse_qsl(address.query))
    if not files.keys() <= _FILES or (files and address.scheme != "https"):
        known = ", ".join(sorted(_FILES))
        raise InvalidInput(
            "bad_setting", f"TIDINGS_COLD_URL may name {known} behind https://, and nothing else."
        )
    for name, path in files.items():
        if not Path(path).is_file():
            raise InvalidInput("bad_setting", f"{name} of TIDINGS_COLD_URL is no file.")
    return files


def _fault(error: ClickHouseError) -> str:
    """Return what the server said, or what the client met, below what it makes of that."""
    if isinstance(error, DatabaseError) and (said := error.name or error.code):
        return f"ClickHouse error {said}"
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return "ClickHouse's certificate is not trusted here, or is another address's"
        seen = seen.__cause__ or seen.__context__
    return "ClickHouse cannot be reached"


def _source(table: ColdTable) -> str:
    return f"{table.name} final"


def _parameter(name: str, value: Value) -> str:
    return f"{{{name}:{'Date' if name.endswith('_day') else _KINDS[type(value)]}}}"
