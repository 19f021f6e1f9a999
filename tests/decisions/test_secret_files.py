"""Secret files: made once, for their owner alone, refused when others may touch them."""

import stat
import threading

import pytest

from plans.secret_files import NotSecret, replace_secret, secret_file


def test_it_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "one"
    assert secret_file(path, lambda: b"first") == b"first"
    assert secret_file(path, lambda: b"second") == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_touch_is_refused_with_what_to_do(tmp_path, mode):
    path = tmp_path / "one"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(NotSecret, match="chmod 600"):
        secret_file(path, lambda: b"new")


def test_of_many_that_begin_at_once_all_have_the_same(tmp_path):
    path, seen = tmp_path / "one", []
    barrier = threading.Barrier(8)

    def use(number: int) -> None:
        barrier.wait()
        seen.append(secret_file(path, lambda: str(number).encode()))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert set(seen) == {path.read_bytes()}


def test_another_secret_takes_its_place_at_once(tmp_path):
    path = tmp_path / "one"
    secret_file(path, lambda: b"old")
    replace_secret(path, b"new")
    assert secret_file(path, lambda: b"never") == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        secret_file(tmp_path / "file" / "one", lambda: b"x")
