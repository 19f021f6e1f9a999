"""What turns the reading direction is refused in names and kept out of sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.reading_direction import straight, turning_problems
from plans.tenants.rows import parse_tenants

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("one", TURNING)
def test_each_is_named_in_a_name_and_gone_from_a_sentence(one):
    (problem,) = turning_problems(f"ac{one}orn", field="person")
    assert problem.startswith("person: take out")
    assert f"U+{ord(one):04X}" in problem
    assert straight(f"Olga paused: {one}never mind.") == "Olga paused: never mind."


@given(st.text())
def test_nothing_else_is_touched(text):
    kept = "".join(one for one in text if one not in TURNING)
    assert straight(text) == kept
    assert turning_problems(kept) == []


@pytest.mark.parametrize("name", ["אורן", "شجرة 7", "Zwölf Eichen", "山毛榉"])
def test_letters_of_every_script_are_names(name):
    assert turning_problems(name) == []


def test_a_tenants_name_is_judged_with_its_line():
    found = parse_tenants("tenant,name\nacorn,Ac\u202eorn\nbirch,Birch\n", form="csv")
    (problem,) = found.problems
    assert (problem.line, problem.key) == (2, "acorn")
    assert "U+202E" in problem.message
