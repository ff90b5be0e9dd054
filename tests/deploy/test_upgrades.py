"""What a rolling upgrade stands on: older nodes work on while the schema is ahead."""

import re

from tidings.storage.warm.migrations import scripts


def test_scripts_take_nothing_away_that_older_nodes_use() -> None:
    for _, script in scripts():
        said = re.sub(r"--.*", "", script).lower()
        assert not re.search(r"\bdrop (table|column)\b|\brename\b|\balter column\b", said)
