"""The sandbox: hostile SQL and hostile files are met in a separate, confined, killable process."""
