"""What all nodes must have alike: the signing key, known to the store by a fingerprint."""

import hmac

from tidings.domain.context import SERVER
from tidings.domain.errors import Conflict
from tidings.domain.ports import Clock
from tidings.storage.warm.port import Database, Transaction

SIGNING_KEY = "signing key"
_LABEL = b"tidings: fingerprint of the signing key"


class SigningKey:
    """The key of this process, held against that of the others. The store never has the key."""

    def __init__(self, database: Database, key: bytes, clock: Clock) -> None:
        self._database = database
        self._fingerprint = hmac.digest(key, _LABEL, "sha256").hex()
        self._clock = clock

    async def check(self) -> None:
        """See that it is the one that all have; the first to come decides which that is.

        Raises:
            Conflict: `key_differs`.
        """

        async def work(tx: Transaction) -> str:
            await tx.execute(
                "insert into agreements (name, fingerprint, agreed_at) values (?, ?, ?)"
                " on conflict (name) do nothing",
                SIGNING_KEY,
                self._fingerprint,
                self._clock.now(),
            )
            ((agreed,),) = await tx.execute(
                "select fingerprint from agreements where name = ?", SIGNING_KEY
            )
            return str(agreed)

        if await self._database.write(SERVER, work) != self._fingerprint:
            raise Conflict(
                "key_differs",
                "This process has another signing key than the others on this database: give it"
                " their file (TIDINGS_KEY_FILE). If the key was changed, `tidings accept-key`.",
            )

    async def accept(self) -> None:
        """Have all who begin from now on need this key; who works already goes on."""

        async def work(tx: Transaction) -> None:
            await tx.execute(
                "insert into agreements (name, fingerprint, agreed_at) values (?, ?, ?)"
                " on conflict (name) do update"
                "  set fingerprint = excluded.fingerprint, agreed_at = excluded.agreed_at",
                SIGNING_KEY,
                self._fingerprint,
                self._clock.now(),
            )

        await self._database.write(SERVER, work)
