"""Registry, workflow, supervisor, triage, data helper, analyst, reporter."""
