"""Numbers of the environment: what is none, or makes no sense, stops the start and is named."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from upgradeconsole.env import env_int

NAME = "UPGRADECONSOLE_TRUSTED_PROXIES"


@pytest.mark.parametrize(
    ("written", "least", "said"),
    [
        ("two", 0, "'two' is not a whole number"),
        ("1.5", 0, "'1.5' is not a whole number"),
        ("-1", 0, "'-1' is too small; write 0 or more"),
        ("0", 1, "'0' is too small; write 1 or more"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_name(monkeypatch, written, least, said):
    monkeypatch.setenv(NAME, written)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}={said}"):
        env_int(NAME, 5, least=least)


def test_a_number_that_can_be_is_taken(monkeypatch):
    monkeypatch.setenv(NAME, "0")
    assert env_int(NAME, 5) == 0
    monkeypatch.delenv(NAME)
    assert env_int(NAME, 5) == 5
