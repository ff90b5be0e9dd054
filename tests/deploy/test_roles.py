"""The logins of deploy/roles.sql: one that owns the schema, one that can serve and no more."""

from pathlib import Path

from tests.deploy.manifests import DEPLOY
from tests.harness.cli import tidings
from tests.harness.postgres import OWNER, PostgresServer


def test_the_owner_migrates_and_another_login_serves(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        server.sql(f"drop role {OWNER}")
        for secret in ("owner_password", "serving_password"):
            (server.folder / secret).write_text("it's long enough\n")
        script = server.folder / "roles.sql"
        text = (DEPLOY / "roles.sql").read_text()
        script.write_text(text.replace("/run/secrets", str(server.folder)))
        server.run_script(script)
        owner, serving = (server.url("tidings", user) for user in ("tidings", "serving"))
        asked = {"TIDINGS_DATA_DIR": str(tmp_path)}
        refused = tidings("user", "list", **asked, TIDINGS_DATABASE_URL=serving)
        assert (refused.status, "store_outdated" in refused.err) == (1, True)
        assert tidings("migrate", **asked, TIDINGS_DATABASE_URL=owner).status == 0
        added = ("user", "add", "ana", "--password-stdin")
        word = "long enough, I hope\n"
        assert tidings(*added, stdin=word, **asked, TIDINGS_DATABASE_URL=serving).status == 0
        denied = tidings("migrate", **asked, TIDINGS_DATABASE_URL=serving)
        assert (denied.status, "store_not_owned" in denied.err) == (1, True)
    finally:
        server.close()
