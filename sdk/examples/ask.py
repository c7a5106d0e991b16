"""Ask for one item of an enterprise, as the sample bank: python ask.py STATE_DIR/demo.json [ITEM]"""

import json
import sys
from pathlib import Path

from consent_sdk import ConsentClient

facts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
item = sys.argv[2] if len(sys.argv) > 2 else "N21-01-01"
bank = facts["bank"]
with ConsentClient(facts["issuer"], bank["client_id"], bank["private_jwk"], institution_id=bank["institution_id"]) as client:
    decision = client.check(facts["enterprise"]["id"], [item], "pre_loan", product="tax-loan-01")
    print("permitted" if decision else "not permitted", decision.permitted or decision.solution_zh, *decision.codes)
