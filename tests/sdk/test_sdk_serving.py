"""From the service's policies to the rows that leave: what is decided is what the SDK can do, and does."""

from typing import Any

import pytest
from sdk_world import AnyClient, ask, granted
from service_world import Service

from consent.demo.sample import PRODUCT, PURPOSE, request_details
from consent_sdk import Denial, Detail, PartialPermit, Permit, ServingRefused, serve_decision

TAXES, PENSIONS = "N21-03-04", "N21-05-01"
PROCESSOR = "demo-second-bank"
UNTIL = request_details()[0].valid_until
ROW = {
    f"{TAXES}.01": "示例市晨曦五金制品有限公司",
    f"{TAXES}.02": "91990100000000000X",
    f"{TAXES}.03": 123456.78,
    f"{TAXES}.04": "98,765.43",
    f"{TAXES}.05": 0,
    f"{TAXES}.06": None,
    f"{TAXES}.07": "连续十八个月",
    f"{TAXES}.08": "2026-10-15",
    "note": "不在目录中的内容",
}

pytestmark = pytest.mark.xdist_group("service")


def detail(item: str, **more: Any) -> Detail:
    return Detail(item=item, purpose=PURPOSE, product=PRODUCT, valid_until=UNTIL, **more)


def test_a_processor_sees_sensitive_fields_masked(service: Service, bank: AnyClient, platform: AnyClient) -> None:
    """Even with a grant that names it (发改办财金〔2022〕299号 四): figures by magnitude, dates by year, the rest hidden; and the row that
    leaves holds nothing else of what the platform has."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise, detail(TAXES, processor=PROCESSOR), detail("N21-01-02"))
    ticket = ask(bank, enterprise.id, (TAXES,), processor=PROCESSOR)
    redeemed = ask(platform, enterprise.id, (TAXES,), processor=PROCESSOR, institution="demo-bank", ticket=ticket.id)
    assert isinstance(redeemed, PartialPermit)
    served = serve_decision(redeemed, {TAXES: [ROW]})[TAXES]
    assert served.rows == (
        {
            f"{TAXES}.01": ROW[f"{TAXES}.01"],  # published by law
            f"{TAXES}.02": ROW[f"{TAXES}.02"],
            f"{TAXES}.03": "100000~999999",
            f"{TAXES}.04": "10000~99999",
            f"{TAXES}.05": "0~9",
            f"{TAXES}.06": None,
            f"{TAXES}.07": "***",
            f"{TAXES}.08": "2026-**-**",
        },
    )
    assert served.retain_days is not None
    platform.deliver(redeemed, {TAXES: served.fields})


def test_an_explicit_grant_means_original_detail(service: Service, bank: AnyClient, platform: AnyClient) -> None:
    """No blanket masking of what was granted (发改办财金〔2022〕299号 三)."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise, detail(TAXES))
    ticket = ask(bank, enterprise.id, (TAXES,))
    redeemed = ask(platform, enterprise.id, (TAXES,), institution="demo-bank", ticket=ticket.id)
    assert isinstance(redeemed, Permit)
    (row,) = serve_decision(redeemed, {TAXES: [ROW]})[TAXES].rows
    assert row == {name: value for name, value in ROW.items() if name != "note"}


def test_a_verification_in_bands(service: Service, bank: AnyClient, platform: AnyClient) -> None:
    """The list shares pension figures in bands and by verification: whether the band is right, never the figure."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise, detail(PENSIONS, action="verify"))
    field = f"{PENSIONS}.03"
    options = {"action": "verify", "claimed_fields": [field]}
    ticket = ask(bank, enterprise.id, (PENSIONS,), **options)
    redeemed = ask(platform, enterprise.id, (PENSIONS,), institution="demo-bank", ticket=ticket.id, **options)
    assert not isinstance(redeemed, Denial)
    for claim, matches in ((30, True), (15, False)):
        served = serve_decision(redeemed, {PENSIONS: [{field: 42}]}, claimed={field: claim})[PENSIONS]
        assert served.rows == ({field: matches},)
    with pytest.raises(ServingRefused):
        serve_decision(redeemed, {PENSIONS: [{field: 42}]})
