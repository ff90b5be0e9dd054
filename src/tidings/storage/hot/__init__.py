"""Hot tier, hints and short-lived tickets: it may vanish at any moment."""
