"""The HTTP application: routes, and the layers every request passes."""

from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tidings.gateway.http import (
    routes_admin,
    routes_agents,
    routes_files,
    routes_health,
    routes_history,
    routes_notifications,
    routes_page,
    routes_permissions,
    routes_reports,
    routes_runs,
    routes_schema,
    routes_session,
    routes_threads,
)
from tidings.gateway.http.bodies import JsonBodies
from tidings.gateway.http.edge import Edge
from tidings.gateway.http.problems import translate
from tidings.gateway.services import Services

ROUTERS = (
    routes_session.router,
    routes_files.router,
    routes_agents.router,
    routes_threads.router,
    routes_runs.router,
    routes_history.router,
    routes_permissions.router,
    routes_reports.router,
    routes_notifications.router,
    routes_health.router,
    routes_admin.router,
    routes_schema.router,
    routes_page.router,
)


HEALTH_ROUTERS = (routes_health.router,)
"""All that a worker answers: nobody but its operator asks it."""


def create_app(services: Services, routers: tuple[APIRouter, ...] = ROUTERS) -> FastAPI:
    """Build the application around its collaborators."""
    app = FastAPI(
        title="Tidings",
        version=version("tidings"),
        docs_url=None,  # the documentation pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    for router in routers:
        app.include_router(router)
    for refusal in (HTTPException, RequestValidationError):
        app.add_exception_handler(refusal, translate)
    app.add_middleware(JsonBodies)
    app.add_middleware(Edge, services=services)
    return app
