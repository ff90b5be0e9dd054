"""The one door for commands and object reads: authorise, deduplicate, record, queue."""
