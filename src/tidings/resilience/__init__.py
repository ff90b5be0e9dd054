"""When to try again, when to leave something alone, who waits: decided here, done elsewhere."""
