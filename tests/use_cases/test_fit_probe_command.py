"""`manage.py fit_probe` and the commands that read policies: what they say and how they exit."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.builders import policy_text
from tests.use_cases.probed_sources import page_text, probed_page


@pytest.fixture
def metrics(scene, settings, tmp_path):
    with probed_page(settings, tmp_path) as metrics:
        yield metrics


def run(*args: str, command: str = "fit_probe") -> tuple[str, int]:
    out = StringIO()
    try:
        call_command(command, *args, stdout=out, stderr=out)
    except SystemExit as ended:
        return out.getvalue(), int(ended.code or 0)
    return out.getvalue(), 0


def test_what_fits_is_told_and_ends_well(metrics):
    assert run() == (
        "error_rate from fleet: fine, 6 of 6 tenants with data\n"
        "pass_rate from fleet: fine, 6 of 6 tenants with data\n",
        0,
    )


def test_what_does_not_fit_is_told_with_advice_and_ends_with_1(metrics):
    metrics.text = page_text(total="request_total")
    told, code = run("5xx_rate")
    assert code == 1
    assert "error: fleet has no series requests_total" in told
    assert "did you mean request_total?" in told
    (row,) = json.loads(run("error_rate", "--json")[0])
    assert row["findings"][0]["kind"] == "wrong_name"


def test_an_unknown_name_is_bad_input(metrics):
    with pytest.raises(CommandError, match="did you mean 'error_rate'") as refused:
        call_command("fit_probe", "eror_rate")
    assert refused.value.returncode == 5


@pytest.mark.parametrize("command", ["lint_policy", "load_policies"])
def test_a_policy_that_names_no_kpi_is_warned_of(metrics, tmp_path, command):
    file = tmp_path / "policies.yaml"
    file.write_text(policy_text(more="rollback_thresholds: {eror_rate: 5}"))
    told, code = run(str(file), command=command)
    assert code == 0
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "eror_rate" in text)
    assert f"{file}:{line}: warning: quick: no Kpi is called 'eror_rate'" in told
    assert "did you mean 'error_rate'" in told
