"""An invented list of region 99, which does not exist, as an operator would write it."""

import json
from pathlib import Path
from typing import Any

ITEM, PERSONAL_ITEM = "R99-01-01", "R99-01-02"


def regional_list() -> dict[str, Any]:
    """The document; a test may spoil it."""
    entry = {
        "category": "1",
        "level": "local",
        "mode": "interface",
        "authorization_required": True,
        "provision": "grant",
        "provider": "示例省大数据局",
        "deadline": None,
        "selectable": True,
        "note": None,
    }
    return {
        "region": {"code": "99", "name": {"zh": "示例省", "en": "Sample Province"}},
        "items": {
            "list": "示例省信用信息归集共享清单",
            "prefix": "R99",
            "title": {"zh": "示例省信用信息归集共享清单", "en": "Sample Province's list of credit information"},
            "effective": "2026-11-01",
            "categories": [{"number": "1", "zh": "物流信息", "en": "Logistics", "rows": 2}],
            "items": [
                {
                    **entry,
                    "code": ITEM,
                    "name": {"zh": "货运量信息", "en": "Freight"},
                    "consent_subject": "enterprise",
                    "fields": [
                        {
                            "code": f"{ITEM}.01",
                            "zh": "企业名称",
                            "label": {"zh": "企业名称", "en": "Enterprise name"},
                            "class": "public",
                            "about": "subject",
                        },
                        {
                            "code": f"{ITEM}.02",
                            "zh": "月均货运量",
                            "label": {"zh": "月均货运量", "en": "Monthly freight"},
                            "class": "commercial",
                            "about": "subject",
                        },
                    ],
                },
                {
                    **entry,
                    "code": PERSONAL_ITEM,
                    "name": {"zh": "驾驶员从业信息", "en": "Drivers"},
                    "consent_subject": "person",
                    "fields": [
                        {
                            "code": f"{PERSONAL_ITEM}.01",
                            "zh": "从业资格类别",
                            "label": {"zh": "从业资格类别", "en": "Qualification"},
                            "class": "personal",
                            "about": "subject",
                        }
                    ],
                },
            ],
        },
        "rows": [
            {
                "id": "R99-freight",
                "purposes": ["pre_loan", "approval"],
                "items": [ITEM],
                "fields": "all",
                "reason": {"zh": "货运量反映经营规模。", "en": "Freight shows the scale of the business."},
                "look_back_years": 1,
            },
            {
                "id": "R99-drivers",
                "purposes": ["pre_loan"],
                "items": [PERSONAL_ITEM],
                "fields": "all",
                "reason": {"zh": "核实驾驶员资格。", "en": "To verify qualifications."},
            },
        ],
    }


def write_list(directory: Path, document: dict[str, Any] | None = None, name: str = "r99.json") -> Path:
    """Write `document` into `directory` and return the directory."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps(document or regional_list(), ensure_ascii=False), encoding="utf-8")
    return directory
