"""The application as a whole: what its start does to what an earlier process left."""

import asyncio
from pathlib import Path

from tidings.app import build
from tidings.domain.context import UserContext
from tidings.settings import load

ANA = UserContext("default", "ana", "s1")


def test_a_start_removes_what_uploads_cut_off_by_a_crash_have_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = build(load({"data_dir": tmp_path}, {}))
        await app._kept.able.library._reserve(ANA, "f_dead", "log.csv")
        left = tmp_path / "files" / "ana" / "f_dead"
        left.mkdir(parents=True)
        (left / "upload").write_bytes(b"half a li")
        await app.close()

        again = build(load({"data_dir": tmp_path}, {}))
        await again.begin()
        assert not left.exists()
        assert await again._kept.able.library.sweep(float("inf")) == 0
        await again.close()

    asyncio.run(scenario())
