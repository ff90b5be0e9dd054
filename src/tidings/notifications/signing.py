"""Signatures of webhooks, by the Standard Webhooks specification."""

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"  # noqa: S105 - only marks what follows as one
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a fresh signing secret.

    Not injected like other randomness: no wiring may make a credential predictable.
    """
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers by which a receiver knows that the body is ours, and which it is.

    `timestamp` is of this attempt, in seconds since 1970; the id stays over all attempts.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{event_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
