"""Serve one item to the sample bank, as the sample data platform: python serve.py STATE_DIR/demo.json"""

import json
import sys
from pathlib import Path

from consent_sdk import ConsentClient, serve_decision

facts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
platform, item = facts["platform"], "N21-01-01"
held = {item: [{f"{item}.01": "示例市晨曦五金制品有限公司", "note": "不在目录中的内容不会离开平台"}]}
with ConsentClient(facts["issuer"], platform["client_id"], platform["private_jwk"], institution_id=platform["institution_id"]) as client:
    bank = facts["bank"]["institution_id"]
    decision = client.check(facts["enterprise"]["id"], [item], "pre_loan", product="tax-loan-01", institution=bank)
    served = serve_decision(decision, held)
    client.deliver(decision, {code: one.fields for code, one in served.items()})
    for code, one in served.items():
        print(code, *one.rows)
