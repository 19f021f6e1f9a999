"""deployers.yaml: what loads, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.deployers import DeployersRejected, load_deployers
from batches.deployers.command_deployer import CommandOptions
from batches.deployers.http_deployer import HttpOptions
from batches.deployers.simulated_deployer import SimulatedOptions

SHIPPED = Path(__file__).parents[2] / "config" / "deployers.yaml"
GOOD = """\
deployers:
  fleet:
    kind: http
    base_url: http://127.0.0.1:9700
    install: {method: POST, path: "/t/{tenant}", json: {v: "{version}"}}
    restore: {method: POST, path: "/t/{tenant}/back"}
    observe: {method: GET, path: "/t/{tenant}", version: "$.version"}
"""


def problems_of(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(DeployersRejected) as caught:
        load_deployers(text, environ=environ or {})
    return [str(problem) for problem in caught.value.problems]


def test_the_shipped_file_loads_as_it_stands() -> None:
    spec = load_deployers(SHIPPED.read_text(), environ={"FLEET_TOKEN": "t0k3n-of-the-fleet"})[
        "fleet"
    ]
    assert isinstance(spec.options, HttpOptions)
    assert (spec.parallelism, spec.expected_seconds) == (100, 1)
    assert spec.options.headers == {"Authorization": "Bearer t0k3n-of-the-fleet"}
    assert spec.options.permanent == {400, 401, 403, 404, 422}
    assert spec.options.accepted is not None


def test_a_missing_environment_variable_is_named_with_its_line() -> None:
    assert problems_of(SHIPPED.read_text()) == [
        "line 5, deployers.fleet.headers.Authorization: "
        "the environment variable FLEET_TOKEN is not set; set it"
    ]


def test_a_token_never_shows_in_a_repr() -> None:
    spec = load_deployers(SHIPPED.read_text(), environ={"FLEET_TOKEN": "t0k3n-of-the-fleet"})[
        "fleet"
    ]
    assert "t0k3n" not in repr(spec)


def test_all_problems_come_at_once_in_the_order_of_their_lines() -> None:
    text = (
        GOOD.replace("http://127.0.0.1:9700", "ftp://there")
        .replace("{version}", "{verison}")
        .replace("method: GET", "method: LOOK")
        + "    retries: 3\n    parallelism: 0\n"
    )
    assert [problem.split(":")[0] for problem in problems_of(text)] == [
        "line 4, deployers.fleet.base_url",
        "line 5, deployers.fleet.install.json",
        "line 7, deployers.fleet.observe.method",
        "line 8, deployers.fleet.retries",
        "line 9, deployers.fleet.parallelism",
    ]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("kind: http", "kind: ftp", "'ftp' is no kind; write one of http, command, simulated"),
        ("    kind: http\n", "", "kind is missing"),
        ("    base_url: http://127.0.0.1:9700\n", "", "base_url is missing"),
        ("127.0.0.1:9700", "127.0.0.1:99999", "must be a URL such as"),
        ("127.0.0.1:9700", "a:b@127.0.0.1:9700", "takes no login"),
        ("127.0.0.1:9700", "${HOST}", "${...} is filled in headers only"),
        ('"/t/{tenant}/back"', '"t/{tenant}"', "must begin with /"),
        ('"/t/{tenant}/back"', '"/t/{config}"', "cannot stand in a path"),
        ('"/t/{tenant}", version', '"/t/{key}", version', "{key} is no placeholder here"),
        ('"$.version"', '"version"', "is no JSON path"),
        (', version: "$.version"', "", "version is missing"),
        ("deployers:", "deployer:", "unknown key"),
        ("  fleet:", "  Fleet One:", "a name is of a-z"),
        ("kind: http", "kind: http\n    kind: http", "is written twice"),
        ("kind: http", 'kind: http\n    headers: {Authorization: "{key}"}', "placeholders are"),
        ("kind: http", "kind: http\n    headers: {X-Upgrade-Fence: no}", "cannot be set here"),
        ("kind: http", "kind: http\n    permanent: [200]", "a whole number from 400 to 599"),
        ("kind: http", "kind: http\n    permanent: 400", "must be a list"),
        ("kind: http", "kind: http\n    accepted: {status: [202]}", "poll is missing"),
        ("kind: http", "kind: &a http\n    parallelism: *a", "aliases (*a) are not taken"),
        ('{v: "{version}"}', "{v: 2024-01-01}", "quote a date"),
        ("kind: http", "kind: [", "not YAML"),
    ],
)
def test_a_wrong_entry_says_what_to_write_instead(old: str, new: str, why: str) -> None:
    assert old in GOOD
    assert any(why in problem for problem in problems_of(GOOD.replace(old, new)))


@pytest.mark.parametrize("text", ["", "deployers: {}", "- a", "deployers: [x]", "a: &a [*a]"])
def test_a_file_without_deployers_is_refused(text: str) -> None:
    assert problems_of(text)


def test_a_command_is_a_list_of_arguments() -> None:
    text = """
    deployers:
      script: {kind: command, install: [up, "{tenant}"], restore: [down], observe: [look]}
    """
    options = load_deployers(text, environ={"PATH": "/bin"})["script"].options
    assert isinstance(options, CommandOptions)
    assert options.install == ("up", "{tenant}")
    line = problems_of(text.replace("[down]", '"down {tenant}"').replace("[look]", '["{tenant}"]'))
    assert "restore: must be a list" in line[0]
    assert "the program itself cannot be a placeholder" in line[1]


def test_a_simulated_fleet_takes_its_version_and_its_pace() -> None:
    text = "deployers: {s: {kind: simulated, version: 1.4.2, latency_seconds: 0.5}}"
    options = load_deployers(text, environ={})["s"].options
    assert options == SimulatedOptions(version="1.4.2", latency_seconds=0.5)
    assert (
        "from 0 to 100"
        in problems_of(text.replace("latency_seconds: 0.5", "fail_percentage: 101"))[0]
    )


def _loads_or_is_refused_with_reasons(text: str) -> bool:
    try:
        load_deployers(text, environ={})
    except DeployersRejected as rejected:
        return bool(rejected.problems)
    return True


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    for candidate in (text, GOOD + text, GOOD.replace("http://127.0.0.1:9700", text)):
        assert _loads_or_is_refused_with_reasons(candidate)
