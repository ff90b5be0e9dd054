"""Tool servers: real programs and real HTTP, good and bad."""
