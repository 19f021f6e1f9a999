"""Break-glass files: what is read was written here; whole lines only; the first one counts."""

from datetime import timedelta
from pathlib import Path

import pytest

from batches.break_glass.offline_file import (
    NotOurs,
    OfflinePlan,
    Touched,
    append,
    header,
    read_plan,
    touched_line,
)
from tests.decisions.kpi_looks import NOON

KEY = b"k" * 32


def a_plan(plan: str = "p1") -> OfflinePlan:
    return OfflinePlan(plan, "spring", "pay", "fleet", "2.0", 20, 5.0, 180.0)


def touched(tenant: str, version: str = "1.0", *, seconds: float = 0) -> Touched:
    return Touched(tenant, version, {"format": "pdf"}, NOON + timedelta(seconds=seconds))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.jsonl"
    append(path, [header(a_plan())], key=KEY)
    append(path, [touched_line("p1", touched(t)) for t in ("acorn", "birch")], key=KEY)
    return path


def test_what_was_written_is_read_back(file):
    plan = read_plan(file, key=KEY)
    assert (plan.plugin, plan.deployer, plan.target) == ("pay", "fleet", "2.0")
    assert (plan.parallelism, plan.call_timeout, plan.rollback_seconds) == (20, 5.0, 180.0)
    assert plan.touched == {t: touched(t) for t in ("acorn", "birch")}
    assert not plan.cut_off
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_several_lines_about_a_tenant_the_first_counts(file):
    append(file, [touched_line("p1", touched("acorn", "2.0", seconds=60))], key=KEY)
    assert read_plan(file, key=KEY).touched["acorn"].version_before == "1.0"


def test_a_line_that_was_cut_off_is_left_out_and_said(file):
    whole = file.read_bytes()
    append(file, [touched_line("p1", touched("cedar"))], key=KEY)
    file.write_bytes(file.read_bytes()[:-5])
    plan = read_plan(file, key=KEY)
    assert set(plan.touched) == {"acorn", "birch"}
    assert plan.cut_off
    file.write_bytes(whole)
    assert not read_plan(file, key=KEY).cut_off


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_changed_line_is_refused_by_its_number(file, number):
    lines = file.read_text().split("\n")
    lines[number - 1] = lines[number - 1].replace("1.0", "0.1").replace("spring", "autumn")
    file.write_text("\n".join(lines))
    with pytest.raises(NotOurs, match=f"plan.jsonl:{number}: this line was not written by this"):
        read_plan(file, key=KEY)


def test_another_installations_file_is_refused(file):
    with pytest.raises(NotOurs, match="not written by this installation"):
        read_plan(file, key=b"other" * 8)


def test_a_line_of_another_plan_is_refused(file):
    append(file, [touched_line("p2", touched("cedar"))], key=KEY)
    with pytest.raises(NotOurs, match="two plans"):
        read_plan(file, key=KEY)


def test_a_file_without_its_first_line_is_refused(tmp_path):
    file = tmp_path / "plan.jsonl"
    append(file, [touched_line("p1", touched("acorn"))], key=KEY)
    with pytest.raises(NotOurs, match="offline-rollback"):
        read_plan(file, key=KEY)
