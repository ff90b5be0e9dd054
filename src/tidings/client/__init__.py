"""The asyncio client over the protocol."""
