"""The line of every value of a JSON text, against what json itself reads from each line."""

import json

from hypothesis import given
from hypothesis import strategies as st

from batches.kpis.dictionary import DictionaryRejected, load_dictionary
from batches.kpis.json_places import line_at, lines_of
from tests.decisions.test_dictionary import SHIPPED

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=12,
)


def paths(value, path=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, f"{path}[{index}]")
    if path:
        yield path


@given(st.dictionaries(st.text(max_size=6), values, max_size=3))
def test_every_value_has_a_line(body):
    lines = lines_of(json.dumps(body, indent=1))
    assert set(paths(body)) <= set(lines)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6))
def test_the_line_is_the_one_on_which_it_stands(texts):
    # One entry on each line, after the line with the opening bracket.
    lines = lines_of(json.dumps({"list": texts}, indent=0))
    assert [lines[f"list[{n}]"] for n in range(len(texts))] == [3 + n for n in range(len(texts))]


def test_what_lies_too_deep_is_left_out():
    assert len(lines_of("[" * 100_000)) < 100


@given(st.text(max_size=60))
def test_no_text_breaks_it(text):
    assert isinstance(lines_of(text), dict)


def test_what_is_missing_is_told_at_what_is_around_it():
    lines = lines_of('{\n"sources": {\n"prom": {}}}')
    assert line_at(lines, "sources.prom.url") == 3
    assert line_at(lines, "mappings[0].kpi") == 0


def test_a_mistake_in_the_dictionary_is_told_with_its_line():
    text = json.dumps(json.loads(SHIPPED.read_text()), indent=1).replace('"ratio"', '"ration"')
    try:
        load_dictionary(text)
    except DictionaryRejected as rejected:
        (first, *_rest) = rejected.problems
    assert text.splitlines()[first.line - 1].strip() == '"kind": "ration",'
