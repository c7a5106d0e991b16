"""The key file."""

import stat
from pathlib import Path

import pytest

from consent.ledger.keys import KeyRefused, generate_key, load_key


def test_a_new_key_is_private_and_loads(tmp_path: Path):
    """Mode 0600, and the verifier key is the loaded key's."""
    path = tmp_path / "key"
    vkey = generate_key(path, "ledger.example.org/a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_key(path, "ledger.example.org/a")
    assert key.vkey == vkey
    assert key.private_key not in repr(key)


def test_a_key_is_never_overwritten(tmp_path: Path):
    """The second attempt fails and the first key stays."""
    path = tmp_path / "key"
    vkey = generate_key(path, "ledger.example.org/a")
    with pytest.raises(FileExistsError):
        generate_key(path, "ledger.example.org/a")
    assert load_key(path, "ledger.example.org/a").vkey == vkey


@pytest.mark.parametrize("origin", ["", "with space", "with+plus"])
def test_an_origin_that_is_no_name_makes_no_file(tmp_path: Path, origin: str):
    """Nothing is left behind."""
    with pytest.raises(KeyRefused):
        generate_key(tmp_path / "key", origin)
    assert not (tmp_path / "key").exists()


def test_unfit_key_files_are_refused(tmp_path: Path):
    """Absent, open to others, not a key, another ledger's: each is refused, and no message quotes the file."""
    path = tmp_path / "key"
    with pytest.raises(KeyRefused, match="keygen"):
        load_key(path, "ledger.example.org/a")
    generate_key(path, "ledger.example.org/a")
    with pytest.raises(KeyRefused, match="not of"):
        load_key(path, "ledger.example.org/b")
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="by others"):
        load_key(path, "ledger.example.org/a")
    path.chmod(0o600)
    path.write_text("SECRETTEXT")
    with pytest.raises(KeyRefused) as caught:
        load_key(path, "ledger.example.org/a")
    assert "SECRETTEXT" not in str(caught.value)
