package consent.request

# The corpus (policies/corpus/requests.json) holds the whole verdicts; here, that what is missing is never kept.

detail := {
	"request": 0,
	"identifier": "d1",
	"institution": 0,
	"way": [],
	"items": ["N21-03-04"],
	"item": "N21-03-04",
	"fields": null,
	"action": "query",
	"purpose": "pre_loan",
	"product": null,
	"data_from": null,
	"valid_until": 1795161600001,
	"frequency": null,
	"retention_days": null,
	"offers": {},
	"more": {},
	"allowed_items": null,
	"allowed_purposes": null,
}

pushed := {
	"now": 1795161600000,
	"today": "2026-11-20",
	"parties": [{
		"id": "bank-a",
		"kind": "bank",
		"status": "active",
		"agreement": true,
		"assessed_from": 1,
		"assessed_until": 9999999999999,
		"purposes": ["pre_loan"],
	}],
	"questions": [detail],
	"requests": [{"key": "k", "count": 1}],
}

keeps(changed) if {
	found := answers with input as changed
	found[0].verdict == "keep"
}

test_the_whole_is_kept if {
	found := answers with input as pushed
	found[0].verdict == "keep"
	found[0].excess == 0
}

test_a_missing_fact_is_not_kept if {
	{name | some name in object.keys(pushed); keeps(object.remove(pushed, [name]))} == {"today"}
}

test_a_missing_fact_of_the_institution_is_not_kept if {
	party := pushed.parties[0]
	{name |
		some name in object.keys(party)
		keeps(object.union(object.remove(pushed, ["parties"]), {"parties": [object.remove(party, [name])]}))
	} == set()
}

test_a_request_without_details_is_refused if {
	found := answers with input as object.union(pushed, {"questions": [], "requests": [{"key": "k", "count": 0}]})
	found == [{"key": "k", "revision": data.consent.revision, "verdict": "refuse", "details": [], "excess": 100}]
}
