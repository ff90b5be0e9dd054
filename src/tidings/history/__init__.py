"""History: what has ended is brought to the cold tier, and asked of it."""
