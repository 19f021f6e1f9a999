"""The rules of the tests: servers on this machine may be reached, as tests/outbound.yaml says."""

from pathlib import Path

from upgradeconsole.outbound import RulesFile

open_here = RulesFile(Path(__file__).parents[1] / "outbound.yaml")
