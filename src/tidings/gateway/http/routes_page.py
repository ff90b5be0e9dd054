"""The pages: three kinds of static files, read once."""

from importlib import resources

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; "
    # Reports bring their own style into a sandboxed frame, which inherits this policy. Style
    # cannot fetch: every source it could name is closed.
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types report"
)
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGE = resources.files("tidings.gateway") / "page"
_FILES = {
    prefix + file.name: file.read_bytes()
    for prefix, folder in (("", _PAGE), ("client/", _PAGE / "client"))
    for file in folder.iterdir()
    if file.name.rpartition(".")[2] in _TYPES
}
"""What is served, by its path; `client/` is compiled from web/client."""


@router.get("/")
async def page() -> Response:
    """Return the chat page."""
    return _served("index.html")


@router.get("/health")
async def health() -> Response:
    """Return the page on which administrators see how the server is; it shows nothing by itself."""
    return _served("health.html")


def _served(name: str) -> Response:
    kind = _TYPES[name.rpartition(".")[2]]
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return Response(_FILES[name], 200, headers, f"{kind}; charset=utf-8")


def _add(name: str) -> None:
    async def part() -> Response:
        return _served(name)

    router.add_api_route(f"/{name}", part, methods=["GET"], name=name)


for _name in sorted(_FILES.keys() - {"index.html", "health.html"}):
    _add(_name)
