"""Sans-I/O client protocol tidings.v1, both ends: frames, cursors, connection rules."""
