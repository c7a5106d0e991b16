"""What an operator may set, and what is said when it does not fit."""

import pytest

from consent.settings import Settings, SettingsError

GOOD = {
    "CONSENT_DATABASE_URL": "postgresql+asyncpg://consent_app@db/consent",
    "CONSENT_ISSUER": "https://consent.example.org",
    "CONSENT_LEDGER_KEY_FILE": "ledger.key",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_a_complete_environment_is_read() -> None:
    """The origin follows from the issuer."""
    assert Settings.from_environment().ledger_origin == "consent.example.org/ledger"


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nothing has a default that could be a secret or somebody else's address; an empty value is a missing one."""
    monkeypatch.setenv(name, "")
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment()


def test_a_key_is_in_a_file_or_behind_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two, never both: nobody should wonder which one signs."""
    monkeypatch.setenv("CONSENT_LEDGER_KEY_COMMAND", "kms-sign")
    with pytest.raises(SettingsError, match="CONSENT_LEDGER_KEY_COMMAND"):
        Settings.from_environment()
    monkeypatch.delenv("CONSENT_LEDGER_KEY_FILE")
    assert Settings.from_environment().ledger_key_command == "kms-sign"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONSENT_ISSUER", "http://consent.example.org"),
        ("CONSENT_ISSUER", "https://consent.example.org/"),
        ("CONSENT_ISSUER", "https://consent.example.org?x=1"),
        ("CONSENT_ISSUER", "https://"),
        ("CONSENT_ISSUER", "consent.example.org"),
        ("CONSENT_DATABASE_URL", "postgresql://db/consent"),
    ],
)
def test_a_value_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Plain http is for loopback alone, and the driver is the asynchronous one."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment()
