"""A real server on a real socket: real identity, router and store; files and reports in memory."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from tests.fakes.intake import intake_of, named_agents
from tests.fakes.sections import well
from tests.fakes.shelves import MemoryFiles, MemoryReports
from tests.fakes.sockets import greet_and_close
from tests.stores import store_in
from tidings.domain.budgets import Plans
from tidings.domain.context import SERVER
from tidings.egress.addresses import AllowedHosts
from tidings.egress.http import Egress
from tidings.events.feed import Feed
from tidings.events.log import open_store
from tidings.events.positions import Positions
from tidings.gateway.http.app import create_app
from tidings.gateway.presence import Presence
from tidings.gateway.services import Services
from tidings.health.metrics import Metrics
from tidings.health.probes import Readiness, database_probe
from tidings.health.service import Health, Look
from tidings.history.service import History
from tidings.identity.elsewhere import Elsewhere
from tidings.identity.passwords import Passwords
from tidings.identity.proxies import proxies_of
from tidings.identity.service import Identity
from tidings.identity.tokens import Tokens
from tidings.notifications.service import Notifications
from tidings.router.accept import Router
from tidings.router.choices import Choices
from tidings.router.permissions import Permissions
from tidings.router.reads import Reads
from tidings.router.spending import Spending
from tidings.runs.queue import Limits
from tidings.storage.cold.parquet import ParquetHistory
from tidings.storage.hot.memory import LocalHints, LocalOnce, LocalPrecedence, LocalRates
from tidings.storage.warm.port import Database
from tidings.system import SystemClock, UlidSource
from tidings.tools.catalogue import Catalogue

METRICS_TOKEN = "counted-in-words-of-thirty-two-ones"
UPLOAD_BYTES_MAX = 4 * 1024 * 1024
PASSWORD = "correct horse"
KEY = b"k" * 32


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """The code of a problem, after checking that it is one."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        assert self.json["request_id"] == self.headers["x-request-id"]
        assert self.json["title"]
        assert self.json["detail"]
        return self.json["code"]


@dataclass
class World:
    """The server, two users who know nothing of each other, and an administrator."""

    port: int
    identity: Identity
    readiness: Readiness
    files: MemoryFiles
    reports: MemoryReports
    ada: str = ""
    bob: str = ""
    chief: str = ""
    user_ids: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Send one request; a body that is not bytes goes as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.putrequest(method, path)
        sent = list(headers)
        if token:
            sent.append(("Authorization", f"Bearer {token}"))
        if raw is not None:
            sent.append(("Content-Length", str(len(raw))))
            if not any(name == "Content-Type" for name, _ in sent):
                sent.append(("Content-Type", "application/json"))
        for name, value in sent:
            connection.putheader(name, value)
        connection.endheaders(raw)
        response = connection.getresponse()
        got = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
        connection.close()
        return got

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer


@contextmanager
def running(
    folder: Path,
    look: Look = well,
    metrics_token: str = METRICS_TOKEN,
    proxies: str = "",
) -> Iterator[World]:
    database = store_in(folder, engine="sqlite")  # it is used in several event loops
    clock, passwords = SystemClock(), Passwords()
    ids = UlidSource(clock)
    tickets = LocalOnce(clock)
    identity = Identity(database, Tokens(KEY), passwords, tickets, LocalRates(clock), clock, ids)
    metrics = Metrics()
    readiness = Readiness((database_probe(database),), clock)
    files, reports = MemoryFiles(), MemoryReports()
    positions = Positions(database, clock)
    agents = named_agents("analysis", "clerk")
    intake, lookout = intake_of(database, clock, agents)
    services = Services(
        identity=identity,
        router=Router(database, clock, ids, intake, "analysis", Limits()),
        reads=Reads(database, clock, ids),
        choices=Choices(agents, lookout, "analysis"),
        permissions=Permissions(database, Catalogue(())),
        spending=Spending(database, clock, Plans()),
        history=History(database, ParquetHistory(folder / "cold"), clock),
        notifications=Notifications(database, Egress(AllowedHosts()), clock, ids),
        files=files,
        reports=reports,
        readiness=readiness,
        health=Health(look, metrics, clock),
        sockets=greet_and_close,
        presence=Presence(
            identity, positions, Elsewhere(LocalHints(), LocalPrecedence(), LocalRates(clock))
        ),
        feed=Feed(database, LocalHints()),
        positions=positions,
        metrics=metrics,
        clock=clock,
        ids=ids,
        upload_bytes_max=UPLOAD_BYTES_MAX,
        metrics_token=metrics_token,
        proxies=proxies_of(proxies),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    world = World(listener.getsockname()[1], identity, readiness, files, reports)
    asyncio.run(_populate(world, database))
    config = uvicorn.Config(
        create_app(services), log_config=None, access_log=False, proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield world
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        asyncio.run(database.close())
        passwords.close()


async def _populate(world: World, database: Database) -> None:
    await database.write(SERVER, lambda tx: open_store(tx, "s_00000e1", 0.0))
    for name in ("ada", "bob", "chief"):
        user = await world.identity.add_user(name, PASSWORD, admin=name == "chief")
        world.user_ids[name] = user.user_id
    world.ada = await world.identity.issue_token("ada")
    world.bob = await world.identity.issue_token("bob")
    world.chief = await world.identity.issue_token("chief")
