package consent.decision

# The corpus (policies/corpus) holds the whole answers. Here stands what it cannot reach: each rule that explains a denial, held
# against the conjunction that permits. Whatever is sound must have nothing to explain, and whatever is not must have something.

institution := {
	"id": "bank-a",
	"kind": "bank",
	"status": "active",
	"agreement": true,
	"assessed_from": 1,
	"assessed_until": 9999999999999,
	"purposes": ["pre_loan"],
	"products": {},
}

check := {
	"key": "k",
	"now": 1795161600000,
	"today": "2026-11-20",
	"action": "query",
	"purpose": "pre_loan",
	"product": null,
	"loan": null,
	"model": null,
	"processor": null,
	"via": [],
	"service": "single",
	"data_from": null,
	"data_to": null,
	"caller": {"kind": "institution", "attested": "institution"},
	"institution": institution,
	"platform": null,
	"terminal": "unregistered",
	"subject": {"verified": true},
	"ticket": null,
	"items": [{"item": "N21-03-04", "fields": null, "claimed": null}],
	"grants": [{
		"grant_id": "g1",
		"identifier": "d1",
		"by": "enterprise",
		"status": "active",
		"item": "N21-03-04",
		"item_status": "active",
		"action": "query",
		"purpose": "pre_loan",
		"product": null,
		"fields": ["N21-03-04.03"],
		"data_from": null,
		"valid_until": 1795161600001,
		"frequency": null,
		"used": 0,
		"via": [],
		"processor": null,
	}],
}

test_a_sound_check_has_nothing_to_explain if {
	data.consent.case_refusals.sound == {0} with input as {"checks": [check]}
	data.consent.case_refusals.refusals == {} with input as {"checks": [check]}
		with data.consent.case_refusals.unsound as {0}
}

test_a_fit_ask_has_nothing_to_explain if {
	data.consent.item_bars.fit == [{0}] with input as {"checks": [check]}
	data.consent.item_bars.bars == {} with input as {"checks": [check]}
		with data.consent.item_bars.unfit as [[0, 0]]
}

test_a_usable_grant_has_no_hurdle if {
	data.consent.grants_held.usable == [{0}] with input as {"checks": [check]}
	data.consent.grants_held.hurdles == {} with input as {"checks": [check]}
		with data.consent.grants_held.stumbling as {[0, 0]}
}

# A missing fact gives nothing, but for facts that this check does not need: no look-back, loan, model, platform, conduit, processor.
test_a_missing_fact_denies if {
	tolerated := {name | some name in object.keys(check); gives(object.remove(check, [name])) != set()}
	tolerated == {"today", "model", "platform"}
}

test_a_missing_fact_of_the_institution_denies if {
	bare := object.remove(check, ["institution"])
	tolerated := {name |
		some name in object.keys(institution)
		gives(object.union(bare, {"institution": object.remove(institution, [name])})) != set()
	}
	tolerated == {"kind", "products"}
}

test_a_missing_fact_of_the_grant_denies if {
	held := check.grants[0]
	tolerated := {name | some name in object.keys(held); gives(object.union(check, {"grants": [object.remove(held, [name])]})) != set()}
	tolerated == {"data_from", "used", "via", "processor"}
}

test_no_checks_no_answers if {
	answers == [] with input as {"checks": []}
	answers == [] with input as {}
}

gives(changed) := fields if {
	found := answers with input as {"checks": [changed]}
	fields := {f | f := found[_].items[_].fields[_]}
}
