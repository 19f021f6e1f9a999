"""A list of tenants is read whole, and every wrong row is named with its line and why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.tenants.rows import MAX_BYTES, RowProblem, TenantRow, parse_tenants
from tests.decisions.effort import lines_run

HEADER = "tenant,name,owner_email,version,labels\n"
CSV = HEADER + (
    'acorn,Acorn Ltd,olga@acorn.example,2.3.0,region=eu;tier=gold\n"birch","Birch, Sons",,,\n'
)
YAML = """\
- tenant: acorn
  name: Acorn Ltd
  owner_email: olga@acorn.example
  version: 2.3.0
  labels: {region: eu, tier: gold}
- {tenant: birch, name: "Birch, Sons", version: }
"""


def rows(text, form="csv"):
    found = parse_tenants(text, form=form)
    assert found.problems == ()
    return found.rows


def problems(text, form="csv"):
    return parse_tenants(text, form=form).problems


def csv_problem(row):
    (problem,) = problems(f"{HEADER}birch,,,,\n{row}\n")
    assert problem.line == 3
    return problem


def test_csv_and_yaml_say_the_same():
    acorn = ("acorn", "Acorn Ltd", "olga@acorn.example", "2.3.0", {"region": "eu", "tier": "gold"})
    birch = TenantRow("birch", "Birch, Sons", "", "", {}, line=3)
    assert rows(CSV) == (TenantRow(*acorn, line=2), birch)
    assert rows(YAML, "yaml") == (TenantRow(*acorn, line=1), replace(birch, line=6))


def test_labels_in_yaml_may_be_written_as_in_csv():
    (row,) = rows("- {tenant: acorn, labels: region=eu;tier=gold}", "yaml")
    assert row.labels == {"region": "eu", "tier": "gold"}


def test_a_version_in_yaml_stays_as_it_is_written():
    assert rows("- {tenant: acorn, version: 1.10}", "yaml")[0].version == "1.10"
    assert rows("- {tenant: no, version: 1e3}", "yaml")[0].key == "no"


def test_only_the_tenant_column_is_needed_and_its_key_is_the_name():
    assert rows("tenant\nacorn\n") == (TenantRow("acorn", "acorn", "", "", {}, 2),)


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r"])
def test_byte_order_mark_and_line_ends_do_not_matter(ends):
    assert rows("\ufeff" + CSV.replace("\n", ends)) == rows(CSV)


def test_empty_lines_are_skipped_and_lines_counted_as_an_editor_does():
    (row,) = rows("\n" + HEADER + "\n,,,,\n acorn ,,,,\n")
    assert (row.key, row.line) == ("acorn", 5)


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ("ac orn,,,,", "ac orn", "tenant: 'ac orn' is no key"),
        ("a/b,,,,", "a/b", "is no key"),
        ("-acorn,,,,", "-acorn", "is no key"),
        (f"{'a' * 64},,,,", "a" * 57 + "...", "is no key"),
        (",Acorn,,,", "", "the key is missing"),
        ("birch,,,,", "birch", "'birch' stands on line 2 already"),
        ("acorn,,olga,,", "acorn", "owner_email: 'olga' is no e-mail address"),
        ("acorn,,olga@host,,", "acorn", "is no e-mail address"),
        ('acorn,,"a@b.example,c@d.example",,', "acorn", "is no e-mail address"),
        ("acorn,,,two words,", "acorn", "version: 'two words' is no version"),
        ("acorn,,,,region", "acorn", "labels: 'region' is no label"),
        ("acorn,,,,region=", "acorn", "labels: region needs a value"),
        ("acorn,,,,a b=c", "acorn", "labels: 'a b' is no label name"),
        ("acorn,,,,a=1;a=2", "acorn", "labels: a stands twice"),
        (f"acorn,{'x' * 201},,,", "acorn", "name: write one line"),
        ("acorn,a\x00b,,,", "acorn", "name: write one line"),
        ("acorn,,,", "acorn", "the row has 4 values and the header 5 columns"),
        ("acorn,Acorn, Sons,,,", "acorn", "the row has 6 values"),
    ],
)
def test_a_wrong_row_is_named_with_line_and_reason(row, key, words):
    problem = csv_problem(row)
    assert problem.key == key
    assert words in problem.message


def test_every_wrong_row_is_listed_and_good_rows_are_kept():
    text = HEADER + "a b,,x,,\nacorn,,,,\nacorn,,,,\n"
    found = parse_tenants(text, form="csv")
    assert [row.key for row in found.rows] == ["acorn"]
    assert [(p.line, p.message.partition(":")[0]) for p in found.problems] == [
        (2, "tenant"),
        (2, "owner_email"),
        (4, "tenant"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "names no tenant"),
        (HEADER, 1, "names no tenant"),
        ("tenant;name\nacorn;x\n", 1, "separate the columns with commas"),
        ("name\nx\n", 1, "'tenant' among them"),
        ("acorn,Acorn\n", 1, "is not a column"),
        ("tenant,ownr_email\nacorn,\n", 1, "did you mean 'owner_email'?"),
        ("tenant,tenant\nacorn,acorn\n", 1, "the column 'tenant' stands twice"),
        ('tenant\nacorn\n"birch\n', 3, "this is not CSV"),
        ("tenant\nacorn\n\ud800\n", 3, "not UTF-8"),
        ("x" * (MAX_BYTES + 1), 1, "at most 5242880 are read"),
    ],
)
def test_a_csv_file_that_cannot_be_read_says_why(text, line, words):
    first = problems(text)[0]
    assert first.line == line
    assert words in first.message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "names no tenant"),
        ("tenant: acorn\n", 1, "write a list of tenants"),
        ("- acorn\n", 1, "write a mapping here"),
        ("- tenant: acorn\n  nmae: x\n", 2, "did you mean 'name'?"),
        ("- tenant: acorn\n  tenant: birch\n", 2, "stands here twice"),
        ("- tenant: acorn\n  name: [x]\n", 2, "name: write a single value"),
        ("- tenant: acorn\n  labels: {a: [1]}\n", 2, "labels: a needs a single value"),
        ("- tenant: acorn\n  labels: [a]\n", 2, "labels: write a single value"),
        ("- {tenant: acorn, labels: {a: }}\n", 1, "labels: a needs a value"),
        ("- tenant: acorn\n- &a {tenant: birch}\n", 2, "the anchor"),
        ("- tenant: acorn\n- tenant: [\n", 3, "this is not YAML"),
    ],
)
def test_a_yaml_file_that_is_wrong_says_where_and_why(text, line, words):
    (problem,) = problems(text, "yaml")
    assert problem.line == line
    assert words in problem.message


def test_another_form_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match="'csv' or 'yaml'"):
        parse_tenants("", form="xml")


def test_too_many_labels_are_refused():
    labels = ";".join(f"l{n}=x" for n in range(51))
    assert "at most 50" in csv_problem(f"acorn,,,,{labels}").message


@given(st.text(max_size=200), st.sampled_from(["csv", "yaml"]))
def test_any_text_gives_rows_or_problems(text, form):
    found = parse_tenants(text, form=form)
    assert found.rows or found.problems
    assert all(isinstance(problem, RowProblem) and problem.line >= 1 for problem in found.problems)


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), unique=True))
def test_every_good_key_comes_back_once_in_the_order_of_the_file(keys):
    text = "tenant,labels\n" + "".join(f"{key},n={number}\n" for number, key in enumerate(keys))
    found = parse_tenants(text, form="csv")
    assert [row.key for row in found.rows] == keys


@pytest.mark.parametrize("form", ["csv", "yaml"])
def test_four_times_the_rows_take_about_four_times_as_much(form):
    few, many = (_rows_of(form, number) for number in (250, 1_000))
    assert len(rows(_rows_of(form, 10_000), form)) == 10_000
    # One that looks at all others for each row would take sixteen times as much.
    assert lines_run(lambda: parse_tenants(many, form=form)) < 5 * lines_run(
        lambda: parse_tenants(few, form=form)
    )


def _rows_of(form, number):
    if form == "csv":
        lines = [HEADER.strip()]
        lines += [f"t{n},Tenant {n},t{n}@a.example,1.{n},region=eu;n={n}" for n in range(number)]
    else:
        lines = [
            f"- {{tenant: t{n}, name: Tenant {n}, owner_email: t{n}@a.example, version: 1.{n},"
            f" labels: {{region: eu, n: {n}}}}}"
            for n in range(number)
        ]
    return "\n".join(lines)
