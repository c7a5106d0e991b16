package consent.request

# The corpus (policies/corpus/requests.json) holds the whole verdicts; here, that what is missing is never kept.

wish := {
	"identifier": "d1",
	"item": "N21-03-04",
	"fields": null,
	"action": "query",
	"purpose": "pre_loan",
	"product": null,
	"data_from": null,
	"valid_until": 1795161600001,
	"frequency": null,
	"retention_days": null,
	"via": [],
	"processor": null,
}

pushed := {
	"key": "k",
	"now": 1795161600000,
	"today": "2026-11-20",
	"institution": {
		"id": "bank-a",
		"kind": "bank",
		"status": "active",
		"agreement": true,
		"assessed_from": 1,
		"assessed_until": 9999999999999,
		"purposes": ["pre_loan"],
		"products": {},
	},
	"allowed_items": null,
	"details": [wish],
}

test_a_sound_detail_is_kept if {
	judged(pushed) == {"keep"}
}

test_without_a_fact_nothing_is_kept if {
	needed := ["item", "action", "purpose", "product", "valid_until"]
	tolerated := {name | some name in needed; judged(object.union(pushed, {"details": [object.remove(wish, [name])]})) == {"keep"}}
	tolerated == set()
}

test_without_an_institution_nothing_is_kept if {
	judged(object.remove(pushed, ["institution"])) == {"refuse"}
}

judged(changed) := verdicts_given if {
	found := answers with input as {"requests": [changed]}
	verdicts_given := {answer.verdict | answer := found[_]}
}
