"""Counters: each granted detail with a frequency that a platform is let have is counted once, and within its bound."""

from consent_audit.replay.state import Data, State
from consent_audit.replay.times import period


def check_uses(state: State, index: int, time: str, data: Data, permits: list[Data]) -> None:
    """Hold the uses that a decision counts against what it permits, and count them."""
    due: dict[tuple[str, str], int] = {}
    if data["platform"] is not None:
        for line in permits:
            detail = state.detail(line["grant"], line["identifier"])
            if detail is not None and detail.per is not None:
                key = line["grant"], line["identifier"]
                due[key] = due.get(key, 0) + 1
    for use in data["uses"]:
        key = use["grant"], use["identifier"]
        detail = state.detail(*key)
        if due.pop(key, 0) != 1 or detail is None or detail.per is None:
            state.fault("count.wrong", index, f"counts a use of grant {key[0]}, {key[1]} that it does not permit, or not this often")
            continue
        key_period = period(detail.per, time)
        if use["period"] != key_period or use["used"] != detail.counted(key_period) + 1:
            wanted = f"use {detail.counted(key_period) + 1} of {key_period}"
            state.fault("count.wrong", index, f"grant {key[0]}, {key[1]}: counts use {use['used']} of {use['period']} instead of {wanted}")
        detail.period, detail.used = key_period, detail.counted(key_period) + 1
    for grant_id, identifier in due:
        state.fault("count.missing", index, f"does not count the use of grant {grant_id}, {identifier}")
