"""A failover of PostgreSQL: another copy of the data, perhaps a lagging one, is promoted."""

import shutil
import subprocess

from tests.harness.postgres import PostgresServer


class Failover:
    """A server with a copy that lags behind it as far as the test wants, at the same address."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._copy = server.data.with_name("copy")

    def copy(self) -> None:
        """Copy everything as it is now; the server restarts for that."""
        self._server.stop()
        subprocess.run(["cp", "-a", str(self._server.data), str(self._copy)], check=True)
        self._server.start()

    def to_the_copy(self) -> None:
        """Lose the server, and go on with what the copy has."""
        self._server.kill()
        shutil.rmtree(self._server.data)
        self._copy.rename(self._server.data)
        self._promoted()

    def to_a_copy_that_has_everything(self) -> None:
        """Lose the server, and go on with another that lacks nothing."""
        self._server.kill()
        self._promoted()

    def _promoted(self) -> None:
        """Start as a standby, which is what a promotion makes a primary of, on a new timeline."""
        (self._server.data / "standby.signal").touch()
        self._server.start()
        self._server.promote()
