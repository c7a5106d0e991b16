package consent.decision

# The corpus (policies/corpus) holds the whole answers. Here stands what it cannot reach: each rule that explains a denial, held
# against the conditions that permit; that a missing fact gives nothing; and that the law of the joined data notices any difference.

party := {
	"id": "bank-a",
	"kind": "bank",
	"status": "active",
	"agreement": true,
	"assessed_from": 1,
	"assessed_until": 9999999999999,
	"purposes": ["pre_loan"],
}

question := {
	"institution": 0,
	"way": ["institution", "institution", "unregistered", "single"],
	"verified": true,
	"action": "query",
	"purpose": "pre_loan",
	"product": null,
	"items": ["N21-03-04"],
	"offers": {},
	"terms": {"N21-03-04": [0]},
	"more": {},
}

term := {
	"head": ["active", "active", "query", "pre_loan", null],
	"by": "enterprise",
	"item": "N21-03-04",
	"fields": null,
}

batch := {
	"now": 1795161600000,
	"today": "2026-11-20",
	"parties": [party],
	"questions": [question],
	"terms": [term],
	"cases": [{"question": 0, "held": {"N21-03-04": [[1000, 0]]}}],
	"ends": [[1795161600001, 0, 1]],
	"spans": [[[0, [1000]]]],
	"checks": [[0, 0]],
}

gives(changed) if {
	found := answers with input as changed
	found.trials[_].given[_]
}

test_the_whole_is_given if gives(batch)

test_a_sound_question_has_nothing_to_explain if {
	data.consent.case_refusals.sound == {0} with input as batch
	data.consent.case_refusals.refusals == {} with input as batch with data.consent.case_refusals.unsound as {0}
}

test_a_fit_ask_has_nothing_to_explain if {
	data.consent.item_bars.bars == {} with input as batch with data.consent.item_bars.unfit as [[0, "N21-03-04"]]
}

test_a_usable_grant_has_no_hurdle if {
	data.consent.grants_held.hurdles == {} with input as batch with data.consent.grants_held.stumbling as {[0, 1000, 0, 0]}
}

test_a_missing_fact_of_the_batch_denies if {
	{name | some name in object.keys(batch); gives(object.remove(batch, [name]))} == {"today"}
}

test_a_missing_fact_of_the_question_denies if {
	tolerated := {name |
		some name in object.keys(question)
		gives(object.union(object.remove(batch, ["questions"]), {"questions": [object.remove(question, [name])]}))
	}
	tolerated == {"offers"}
}

test_a_missing_fact_of_the_institution_denies if {
	{name |
		some name in object.keys(party)
		gives(object.union(object.remove(batch, ["parties"]), {"parties": [object.remove(party, [name])]}))
	} == set()
}

test_a_missing_fact_of_the_terms_denies if {
	{name |
		some name in object.keys(term)
		gives(object.union(object.remove(batch, ["terms"]), {"terms": [object.remove(term, [name])]}))
	} == {"item"}
}

test_a_missing_end_denies if {
	not gives(object.union(batch, {"ends": [[null, 0, 1]]}))
	not gives(object.union(batch, {"ends": [[1795161600001, null, 1]]}))
	not gives(object.union(batch, {"spans": [[]]}))
}

test_what_nothing_explains_is_denied_all_the_same if {
	found := answers with input as batch with data.consent.trials.cover as {0: {}} with data.consent.grants_held.reasons as {}
	found.trials[0].denied == {"N21-03-04": ["policy.unavailable"]}
}

test_no_checks_no_answers if {
	found := answers with input as {}
	found.trials == []
}

# The short way of whole items gives what the long way gives.
test_whole_items_are_answered_like_any_other if {
	short := data.consent.grants_held.yields[0][0] with input as whole_batch
	long := data.consent.grants_held.yields[0][0] with input as whole_batch with data.consent.grants_held.whole as {}
	short == object.filter(long, object.keys(short))
	long.fields == data.consent.table.pre_loan["N21-03-04"].givable
	long.withheld == []
	long.obligations == []
}

whole_batch := object.union(object.remove(batch, ["questions"]), {"questions": [object.union(question, {
	"product": "p",
	"offers": {"p": {"purposes": ["pre_loan"], "items": null}},
})]})

test_the_joined_data_is_lawful if data.consent.field_sets.faults == set()

test_a_row_that_is_not_the_law_is_a_fault if {
	changed := json.patch(data.consent.table, [{"op": "add", "path": "pre_loan/N21-03-04/free/-", "value": "N21-03-04.01"}])
	data.consent.field_sets.faults == {["pre_loan", "N21-03-04"]} with data.consent.table as changed
}

test_a_row_too_many_is_a_fault if {
	row := data.consent.table.pre_loan["N21-03-04"]
	changed := json.patch(data.consent.table, [{"op": "add", "path": "screening/N21-03-04", "value": row}])
	data.consent.field_sets.faults == {["screening", "N21-03-04"]} with data.consent.table as changed
}

test_a_row_too_few_is_a_fault if {
	changed := json.patch(data.consent.table, [{"op": "remove", "path": "pre_loan/N21-03-04"}])
	data.consent.field_sets.faults == {["pre_loan", "N21-03-04"]} with data.consent.table as changed
}

test_an_item_that_is_not_the_law_is_a_fault if {
	changed := json.patch(data.consent.catalogue, [{"op": "replace", "path": "items/N21-03-04/third_party", "value": ["N21-03-04.01"]}])
	data.consent.field_sets.classed("N21-03-04")
	not data.consent.field_sets.classed("N21-03-04") with data.consent.catalogue as changed
}

test_the_switches_of_the_law if {
	strict := object.union(data.consent.settings, {"interface_rows_need_grant": true})
	data.consent.field_sets.open("N21-02-01") == true
	data.consent.field_sets.open("N21-02-01") == false with data.consent.settings as strict
	closed := object.union(data.consent.settings, {"third_party_published": false})
	not "N21-01-05.03" in data.consent.field_sets.third_party("N21-01-05")
	"N21-01-05.03" in data.consent.field_sets.third_party("N21-01-05") with data.consent.settings as closed
}
