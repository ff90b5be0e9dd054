"""What should be the same on all nodes of a fleet, by fingerprints that can be compared."""

import hashlib

import msgspec

from tidings.app.pieces import Abilities
from tidings.domain.budgets import Plans
from tidings.settings import Settings

FINGERPRINT_CHARACTERS = 16


def fingerprints(settings: Settings, plans: Plans, able: Abilities) -> dict[str, str]:
    """Return the fingerprints by name; what is not known here is left out.

    None of it is secret: names of agents, budgets, numbers, and which tiers there are.
    """
    scheduler = (settings.temporal_namespace, settings.temporal_queue)
    held = {
        "agents": able.agents.names(),
        "plans": plans,
        "limits of runs": (settings.runs_per_user, settings.run_seconds),
        "hot tier": bool(settings.hot_url),
        "scheduler": scheduler if settings.temporal_address else None,
    }
    if able.library.folder_name:
        held["folders of uploads"] = able.library.folder_name
    return {name: _fingerprint(value) for name, value in held.items()}


def _fingerprint(value: object) -> str:
    encoded = msgspec.json.encode(value, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:FINGERPRINT_CHARACTERS]
