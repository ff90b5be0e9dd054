"""Settings: the only reader of the environment, validated at start."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tidings.domain.errors import InvalidInput
from tidings.identity.proxies import TrustedProxies, proxies_of
from tidings.storage.backups import KEY_FILE

PREFIX = "TIDINGS_"
ALL, GATEWAY, WORKER = ROLES = ("all", "gateway", "worker")
SECRETS = frozenset(
    {"token", "cold_url", "database_url", "hot_url", "metrics_token", "temporal_api_key"}
)
"""Settings whose values are never shown; each may stand in a file that `<variable>_FILE` names."""
METRICS_TOKEN_CHARACTERS_MIN = 32
LOG_LEVELS = ("debug", "info", "warning", "error")
_FOR_TESTS = "TIDINGS_TEST_"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen. Each field is the variable `TIDINGS_<FIELD>`."""

    data_dir: Path = field(
        default=Path("tidings-data"), metadata={"meaning": "Where everything is kept."}
    )
    role: str = field(
        default="all",
        metadata={"meaning": "What this process does: `all`, `gateway` or `worker`."},
    )
    key_file: str = field(
        default="",
        metadata={"meaning": "The signing key, one for all processes; empty: in the data dir."},
    )
    scratch_dir: str = field(
        default="",
        metadata={"meaning": "A local folder for child processes; empty: in the data dir."},
    )
    database_url: str = field(
        default="",
        metadata={"meaning": "The PostgreSQL that keeps the truth; empty is a file in `data_dir`."},
    )
    database_connections: int = field(
        default=16, metadata={"meaning": "How many connections to it a server may have."}
    )
    cold_url: str = field(
        default="",
        metadata={
            "meaning": "`http(s)://user:password@host:port/database` of ClickHouse, for history."
        },
    )
    history_days: float = field(
        default=0.0, metadata={"meaning": "How long events stay in the history; 0 is for ever."}
    )
    hot_url: str = field(
        default="",
        metadata={"meaning": "The Valkey or Redis that several servers share; empty is none."},
    )
    host: str = field(default="127.0.0.1", metadata={"meaning": "The address to listen on."})
    port: int = field(
        default=8420, metadata={"meaning": "The port to listen on; 0 takes a free one."}
    )
    model: str = field(
        default="",
        metadata={
            "meaning": "`provider:model`, or several in order; empty is the built-in planner."
        },
    )
    model_base_url: str = field(
        default="", metadata={"meaning": "The address of the first model's server."}
    )
    model_first_byte_seconds: float = field(
        default=30.0, metadata={"meaning": "How long a model may be silent before its reply."}
    )
    model_gap_seconds: float = field(
        default=60.0, metadata={"meaning": "How long it may be silent in the middle of one."}
    )
    runs: int = field(default=16, metadata={"meaning": "How many runs are worked on at once."})
    runs_per_user: int = field(default=4, metadata={"meaning": "How many of them for one user."})
    run_seconds: float = field(
        default=300.0, metadata={"meaning": "How long a run may take, from its command to its end."}
    )
    plans: str = field(
        default="",
        metadata={"meaning": "A TOML file of budgets and whose they are; see docs/runs.md."},
    )
    upload_bytes: int = field(
        default=2 * 1024**3, metadata={"meaning": "The largest file that may be uploaded."}
    )
    retention_days: float = field(
        default=0.0, metadata={"meaning": "How long events of ended runs are kept; 0 is for ever."}
    )
    compact_after_seconds: float = field(
        default=3600.0,
        metadata={"meaning": "When, after a run's end, the pieces of its answer are joined."},
    )
    origins: str = field(
        default="",
        metadata={"meaning": "Other origins whose pages may connect, separated by commas."},
    )
    trusted_proxies: str = field(
        default="",
        metadata={
            "meaning": "Networks of proxies whose word is believed about who asks, by commas."
        },
    )
    plugins: str = field(
        default="",
        metadata={
            "meaning": "Agents and tools to add: entry points or `module:function`, by commas."
        },
    )
    webhook_hosts: str = field(
        default="",
        metadata={
            "meaning": "Hosts that webhooks may call though they are private, separated by commas."
        },
    )
    mcp_file: str = field(
        default="", metadata={"meaning": "A TOML file of tool servers; see docs/tools.md."}
    )
    mcp_hosts: str = field(
        default="",
        metadata={"meaning": "Hosts where tool servers may be though they are private, by commas."},
    )
    temporal_address: str = field(
        default="",
        metadata={
            "meaning": "A Temporal server, `host:port` or `tls://host:port`, that brings runs to"
            " workers; empty: they look themselves."
        },
    )
    temporal_api_key: str = field(
        default="", metadata={"meaning": "What Temporal knows this process by, as a key."}
    )
    temporal_ca_file: str = field(
        default="",
        metadata={"meaning": "Whose certificates it may have; empty: whom the machine believes."},
    )
    temporal_cert_file: str = field(
        default="", metadata={"meaning": "What Temporal knows this process by, as a certificate."}
    )
    temporal_cert_key_file: str = field(default="", metadata={"meaning": "The key of that."})
    temporal_namespace: str = field(
        default="default", metadata={"meaning": "The namespace to use there."}
    )
    temporal_queue: str = field(
        default="tidings-runs", metadata={"meaning": "The task queue that runs are brought by."}
    )
    token: str = field(
        default="", metadata={"meaning": "The access token `tidings ask` signs in with."}
    )
    metrics_token: str = field(
        default="", metadata={"meaning": "What Prometheus on another machine shows at `/metrics`."}
    )
    log_level: str = field(
        default="warning", metadata={"meaning": "`debug`, `info`, `warning` or `error`."}
    )

    @property
    def alone(self) -> bool:
        """Whether this process owns the store: nobody else works on its runs."""
        return not self.database_url

    @property
    def serves_clients(self) -> bool:
        """Whether clients connect here."""
        return self.role != WORKER

    @property
    def works(self) -> bool:
        """Whether runs are worked on here, and what goes on behind the scenes."""
        return self.role != GATEWAY

    @property
    def key_path(self) -> Path:
        """Where the signing key is."""
        return Path(self.key_file) if self.key_file else self.data_dir / KEY_FILE

    @property
    def scratch_path(self) -> Path:
        """Where child processes have their homes."""
        return Path(self.scratch_dir) if self.scratch_dir else self.data_dir / "sandbox"

    @property
    def keep_seconds(self) -> float | None:
        """How long events are kept; None is for ever."""
        return self.retention_days * 86_400 or None

    @property
    def history_seconds(self) -> float | None:
        """How long events stay in the history; None is for ever."""
        return self.history_days * 86_400 or None

    @property
    def origin_list(self) -> frozenset[str]:
        """The allowed origins, one by one."""
        return frozenset(_listed(self.origins))

    @property
    def proxies(self) -> TrustedProxies:
        """Who is believed about the addresses of clients."""
        return proxies_of(self.trusted_proxies)

    @property
    def plugin_list(self) -> tuple[str, ...]:
        """The agents and tools to add, one by one."""
        return _listed(self.plugins)

    @property
    def webhook_host_list(self) -> tuple[str, ...]:
        """The private hosts that webhooks may call, one by one."""
        return _listed(self.webhook_hosts)

    @property
    def mcp_host_list(self) -> tuple[str, ...]:
        """The private hosts of tool servers, one by one."""
        return _listed(self.mcp_hosts)


def variables(
    names: Iterable[str], environment: Mapping[str, str] = os.environ
) -> Mapping[str, str]:
    """Return variables that a file of the operator's names, to be passed on.

    Raises:
        InvalidInput: `bad_setting`: one is not set.
    """
    for name in (names := tuple(names)):
        if name not in environment:
            raise InvalidInput("bad_setting", f"{name} is not set, but TIDINGS_MCP_FILE names it.")
    return {name: environment[name] for name in names}


def load(overrides: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment, let the command line's flags win, and check the result.

    Raises:
        InvalidInput: `bad_setting`: a value is not of its type or out of range.
    """
    given: dict[str, Any] = {}
    for setting in fields(Settings):
        variable = PREFIX + setting.name.upper()
        value = overrides.get(setting.name)
        if value is None:
            value = environment.get(variable) or _from_file(setting.name, environment)
        if value is not None:
            given[setting.name] = _converted(variable, value, _kind(setting.default))
    return _checked(Settings(**given))


def unknown(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Say, in a sentence for each, which variables look like settings and are none."""
    names = {setting.name.upper() for setting in fields(Settings)}
    names |= {f"{name.upper()}_FILE" for name in SECRETS}
    given = {variable.removeprefix(PREFIX) for variable in environment if _is_ours(variable)}
    return tuple(
        f"{PREFIX}{name} is no setting and has no effect.{_nearest(name, names)}"
        for name in sorted(given - names)
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_ours(variable: str) -> bool:
    return variable.startswith(PREFIX) and not variable.startswith(_FOR_TESTS)


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {PREFIX}{near[0]}?" if near else ""


def _from_file(name: str, environment: Mapping[str, str]) -> str | None:
    """Return what is in the file that a secret's variable names."""
    variable = f"{PREFIX}{name.upper()}_FILE"
    path = environment.get(variable) if name in SECRETS else None
    if not path:
        return None
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("bad_setting", f"{variable} names a file that is not read.") from error


def _kind(default: Any) -> type:
    return Path if isinstance(default, Path) else type(default)


def _converted(variable: str, value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput("bad_setting", f"{variable} must be {_KINDS[kind]}.") from error


_KINDS = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


def _checked(settings: Settings) -> Settings:
    positive = ("runs", "runs_per_user", "run_seconds", "upload_bytes", "database_connections")
    for name in (*positive, "model_first_byte_seconds", "model_gap_seconds"):
        if not getattr(settings, name) > 0:
            raise InvalidInput("bad_setting", f"{PREFIX}{name.upper()} must be above 0.")
    for name in ("retention_days", "history_days", "compact_after_seconds"):
        if not getattr(settings, name) >= 0:
            raise InvalidInput("bad_setting", f"{PREFIX}{name.upper()} must not be below 0.")
    if not 0 <= settings.port < 65536:  # noqa: PLR2004 - the range of ports
        raise InvalidInput("bad_setting", f"{PREFIX}PORT must be between 0 and 65535.")
    proxies_of(settings.trusted_proxies)
    _check_origins(settings)
    _check_role(settings)
    _check_metrics_token(settings)
    if settings.log_level not in LOG_LEVELS:
        levels = ", ".join(LOG_LEVELS)
        raise InvalidInput("bad_setting", f"{PREFIX}LOG_LEVEL must be one of {levels}.")
    return settings


def _check_role(settings: Settings) -> None:
    if settings.role not in ROLES:
        raise InvalidInput("bad_setting", f"{PREFIX}ROLE must be one of {', '.join(ROLES)}.")
    if settings.role != ALL and settings.alone:
        raise InvalidInput(
            "bad_setting",
            f"A {settings.role} shares a PostgreSQL with others: set {PREFIX}DATABASE_URL.",
        )


def _check_origins(settings: Settings) -> None:
    for origin in sorted(settings.origin_list):
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInput(
                "bad_setting",
                f"{PREFIX}ORIGINS: {origin} is none; an origin is https://host or https://host:port.",
            )


def _check_metrics_token(settings: Settings) -> None:
    if 0 < len(settings.metrics_token) < METRICS_TOKEN_CHARACTERS_MIN:
        raise InvalidInput(
            "bad_setting",
            f"{PREFIX}METRICS_TOKEN must have {METRICS_TOKEN_CHARACTERS_MIN} characters or more.",
        )
