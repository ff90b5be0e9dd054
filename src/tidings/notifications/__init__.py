"""When nobody is listening: the inbox, and webhooks."""
