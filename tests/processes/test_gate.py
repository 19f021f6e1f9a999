"""The gate runs what failed once more, alone, and believes only the second failure."""

from pathlib import Path

import pytest

from tests import gate


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process costs seconds, and one is enough for a suite of one file."""
    monkeypatch.setattr(gate, "TOGETHER", ("-n", "1", *gate.TOGETHER[2:]))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_sometimes.py").write_text(
        "from pathlib import Path\n"
        "def test_once(): assert Path(__file__).with_name('seen').exists() or seen()\n"
        "def seen(): Path(__file__).with_name('seen').touch()\n"
    )
    return tmp_path


def test_what_fails_beside_others_and_not_alone_holds(suite):
    assert gate.run([str(suite)]) == 0


def test_what_fails_twice_fails(suite):
    (suite / "test_always.py").write_text("def test_wrong(): assert False\n")
    assert gate.run([str(suite)]) == 1


def test_a_run_that_could_not_begin_is_not_begun_again(suite):
    assert gate.run([str(suite / "not_there.py")]) not in {0, gate.TESTS_FAILED}


def test_what_goes_the_same_way_each_time_is_not_run_again(suite, monkeypatch):
    monkeypatch.setattr(gate, "TIMELESS", "")
    assert gate.run([str(suite)]) == gate.TESTS_FAILED
