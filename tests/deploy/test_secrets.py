"""Secrets in files, which no child process inherits."""

from pathlib import Path

import pytest

from tidings.domain.errors import InvalidInput
from tidings.settings import load


def test_a_secret_may_stand_in_a_file_and_its_own_variable_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("redis://hot:6379/0\n")
    given = {"TIDINGS_HOT_URL_FILE": str(path)}
    assert load({}, given).hot_url == "redis://hot:6379/0"
    assert load({}, given | {"TIDINGS_HOT_URL": "redis://other"}).hot_url == "redis://other"


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="TIDINGS_HOT_URL_FILE"):
        load({}, {"TIDINGS_HOT_URL_FILE": str(tmp_path / "none")})


def test_what_is_no_secret_is_not_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("openai:gpt-5")
    assert load({}, {"TIDINGS_MODEL_FILE": str(tmp_path / "model")}).model == ""


def test_a_token_for_metrics_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="32 characters"):
        load({}, {"TIDINGS_METRICS_TOKEN": "short"})
