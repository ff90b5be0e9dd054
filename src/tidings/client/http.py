"""The HTTP side of the client: files in, reports out."""

from pathlib import Path
from typing import Any

import httpx2

from tidings.domain.errors import TidingsError, Unavailable

TIMEOUT_SECONDS = 30.0
UPLOAD_SECONDS = 1200.0


class Api:
    """Calls a server's HTTP API as one user.

    Raises:
        TidingsError: the server's refusal, by code and sentence.
        Unavailable: `server_unreachable`.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}

    async def upload(self, path: Path) -> dict[str, Any]:
        """Send a file and have it imported; return what the server found in it."""
        with path.open("rb") as file:
            answer = await self._call(
                "POST", "/api/files", files={"file": (path.name, file)}, timeout=UPLOAD_SECONDS
            )
        uploaded: dict[str, Any] = answer.json()
        return uploaded

    async def report(self, report_id: str, format_: str) -> bytes:
        """Return a report as `md`, `html` or `json`."""
        answer = await self._call("GET", f"/api/reports/{report_id}", params={"format": format_})
        return answer.content

    async def agents(self) -> list[dict[str, Any]]:
        """Return the agents that can be asked."""
        found: list[dict[str, Any]] = (await self._call("GET", "/api/agents")).json()["agents"]
        return found

    async def health(self) -> dict[str, Any]:
        """Return how the server is, as it tells administrators."""
        found: dict[str, Any] = (await self._call("GET", "/api/health")).json()
        return found

    async def _call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        timeout = options.pop("timeout", TIMEOUT_SECONDS)
        try:
            async with httpx2.AsyncClient(timeout=timeout, trust_env=False) as client:
                answer = await client.request(
                    method, self._url + path, headers=self._headers, **options
                )
        except httpx2.HTTPError as error:
            raise Unavailable("server_unreachable", f"No server answers at {self._url}.") from error
        if answer.is_error:
            raise _refusal(answer)
        return answer


def _refusal(answer: httpx2.Response) -> TidingsError:
    try:
        problem = answer.json()
        return TidingsError(problem["code"], problem["detail"], status=answer.status_code)
    except (ValueError, KeyError):
        return Unavailable("server_unreachable", "What answers there is not Tidings.")
