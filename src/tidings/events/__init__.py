"""The durable log, the feed that follows it, and who may read it."""
