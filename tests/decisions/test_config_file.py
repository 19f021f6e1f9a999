"""A file of the configuration counts as soon as it is there, and keeps its place."""

from pathlib import Path

import pytest

from upgradeconsole.config_file import ConfigFile
from upgradeconsole.outbound import RulesFile


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    example = tmp_path / "example.yaml"
    example.write_text("allow:\n  - {cidr: 127.0.0.1/32, ports: 9700, purpose: metrics}\n")
    return ConfigFile(own=tmp_path / "config" / "own.yaml", example=example)


def test_the_own_file_counts_from_the_moment_it_is_there(file: ConfigFile) -> None:
    assert (Path(file), str(file)) == (file.example, str(file.example))
    file.own.parent.mkdir()
    file.own.write_text("allow: []\n")
    assert (Path(file), str(file)) == (file.own, str(file.own))


def test_an_example_never_takes_the_place_of_a_file_that_was_in_force(file: ConfigFile) -> None:
    file.own.parent.mkdir()
    file.own.write_text("allow: []\n")
    assert Path(file) == file.own
    file.own.unlink()
    assert Path(file) == file.own


def test_rules_that_are_new_count_without_a_restart(file: ConfigFile) -> None:
    rules = RulesFile(file)
    assert len(rules().openings) == 1
    file.own.parent.mkdir()
    file.own.write_text("allow: []\n")
    assert rules().openings == ()
    assert rules().file == str(file.own)
