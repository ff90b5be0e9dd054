"""The registry of agents, those of pydantic-ai, and the agent `analysis` with its helpers."""
