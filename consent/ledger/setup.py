"""The signer that the settings describe: its keys, the second store of its heads, its witnesses."""

from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.cosigning import Cosigning
from consent.ledger.heads import HeadStore
from consent.ledger.keys import KeyRefused, LogKey, command_key, load_key
from consent.ledger.signer import Signer
from consent.settings import Settings, SettingsError
from consent_audit.errors import BadPolicy
from consent_audit.policy import Policy


def log_keys(settings: Settings) -> list[LogKey]:
    """The keys that this process holds, the one that signs now before the next one.

    Raises:
        KeyRefused: one of them cannot be used, or there is none.
    """
    keys: list[LogKey] = []
    for file, command, vkey in (
        (settings.ledger_key_file, settings.ledger_key_command, settings.ledger_vkey),
        (settings.ledger_next_key_file, settings.ledger_next_key_command, settings.ledger_next_vkey),
    ):
        if file is not None:
            keys.append(load_key(file, settings.ledger_origin))
        elif command is not None:
            keys.append(command_key(command, vkey or "", settings.ledger_origin))
    if not keys:
        raise KeyRefused("set CONSENT_LEDGER_KEY_FILE, or CONSENT_LEDGER_KEY_COMMAND and CONSENT_LEDGER_VKEY")
    return keys


def head_store(settings: Settings) -> HeadStore | None:
    """The second store, if there is one."""
    return None if settings.head_store is None else HeadStore(settings.head_store, settings.ledger_origin)


def witness_policy(settings: Settings) -> Policy | None:
    """The policy that says which witnesses cosign, if there is one.

    Raises:
        SettingsError: the file cannot be read, is no policy, or is another log's.
    """
    if settings.witness_policy is None:
        return None
    try:
        policy = Policy.parse(settings.witness_policy.read_bytes())
    except OSError as error:
        raise SettingsError(f"CONSENT_WITNESS_POLICY {settings.witness_policy} cannot be read ({error.strerror})") from None
    except BadPolicy as error:
        raise SettingsError(f"CONSENT_WITNESS_POLICY {settings.witness_policy}: {error}") from None
    if policy.logs and all(log.verifier.name != settings.ledger_origin for log in policy.logs):
        raise SettingsError(f"CONSENT_WITNESS_POLICY {settings.witness_policy} names no log {settings.ledger_origin}")
    for witness in policy.witnesses:
        if witness.url is not None and not witness.url.startswith(("https://", "http://")):
            raise SettingsError(f"CONSENT_WITNESS_POLICY: the URL of witness {witness.name} is not http or https")
    return policy


def make_signer(engine: AsyncEngine, settings: Settings) -> Signer:
    """All of it together.

    Raises:
        KeyRefused, SettingsError: as above.
    """
    policy = witness_policy(settings)
    cosigning = None if policy is None else Cosigning(engine, policy)
    return Signer(engine, log_keys(settings), heads=head_store(settings), cosigning=cosigning)
