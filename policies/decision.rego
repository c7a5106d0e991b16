# METADATA
# title: Decisions
# description: |
#   One answer per check, in the order of the input. An item is denied unless something above gives it a field; nothing here
#   can add to what was given.
# entrypoint: true
package consent.decision

import data.consent.asked_items.asks
import data.consent.case_refusals.refusals
import data.consent.field_answers
import data.consent.free_fields
import data.consent.grants_held
import data.consent.item_bars.bars
import data.consent.obligations_due
import data.consent.sharing_modes

# METADATA
# title: The answers
# entrypoint: true
answers := [answer |
	check := input.checks[c]
	items := [item | check.items[i]; item := items_answered[c][i]]
	outcomes := {item.outcome | item := items[_]}
	fully := full(check.action, items)
	answer := {
		"key": check.key,
		"revision": data.consent.revision,
		"decision": fully,
		"outcome": overall(fully, outcomes),
		"codes": sort({code | code := items[_].codes[_]}),
		"items": items,
	}
]

# METADATA
# title: Items of a check that is refused as a whole
items_answered[c][i] := denied(item.item, refusals[c], c) if {
	some c, check in input.checks
	refusals[c]
	some i, item in check.items
}

# METADATA
# title: Items that no grant could cure
items_answered[c][i] := denied(ask.item, bars[c][i], c) if {
	some c, asked in asks
	some i, ask in asked
	bars[c][i]
}

# METADATA
# title: Items that nothing gives a field of
items_answered[c][i] := denied(ask.item, lacking(c, i), c) if {
	some c, asked in asks
	some i, ask in asked
	not bars[c][i]
	not field_answers.given[c][i]
}

# METADATA
# title: Items that are given, wholly or in part
items_answered[c][i] := answer if {
	some c, given in field_answers.given
	some i, fields in given
	ask := asks[c][i]
	answer := {
		"item": ask.item,
		"outcome": outcome(c, i),
		"basis": basis(c, i),
		"grant_id": object.get(grants_held.source, [c, i, "grant_id"], null),
		"identifier": object.get(grants_held.source, [c, i, "identifier"], null),
		"fields": sort(fields),
		"withheld": sort(object.get(field_answers.withheld, [c, i], set())),
		"codes": sort(object.get(field_answers.reasons, [c, i], set())),
		"obligations": [duty |
			code := ["aggregate", "band", "do_not_store", "mask", "match_only", "retain_days"][_]
			duty := obligations_due.due[c][i][code]
		],
		"flags": flags(c, ask.item),
	}
}

denied(item, codes, c) := {
	"item": item,
	"outcome": "deny",
	"basis": null,
	"grant_id": null,
	"identifier": null,
	"fields": [],
	"withheld": [],
	"codes": sort(codes),
	"obligations": [],
	"flags": flags(c, item),
}

# Nothing but numbers of identity documents was asked of an open item; or the caller has no value to compare; or no grant covers it.
lacking(c, i) := {"mode.verification_only"} if {
	count(field_answers.offered[c][i]) > 0
} else := {"field.identity_document"} if {
	asks[c][i].provision in {"open", "open_except_fields"}
} else := {grants_held.reasons[c][i]}

outcome(c, i) := "model_only" if {
	input.checks[c].action == "model"
} else := "verify_only" if {
	sharing_modes.verifying[c][i]
} else := "permit_masked" if {
	field_answers.withheld[c][i]
} else := "permit_masked" if {
	obligations_due.due[c][i].mask
} else := "permit_masked" if {
	obligations_due.due[c][i].band
} else := "permit"

basis(c, i) := "person" if {
	input.checks[c].grants[grants_held.cover[c][i]].by == "person"
} else := "grant" if {
	grants_held.cover[c][i]
} else := "model" if {
	free_fields.modelled[c][i]
} else := "open"

flags(c, item) := ["disputed"] if {
	item in input.checks[c].disputed
} else := []

# What the action asked, wholly: detail for detail, a match for a verification, a model's output for a model.
full(action, items) if {
	count(items) > 0
	wish := object.get({"verify": "verify_only", "model": "model_only"}, action, "permit")
	{item.outcome | item := items[_]} == {wish}
	{field | field := items[_].withheld[_]} == set()
} else := false

overall(true, _) := "full"

overall(false, outcomes) := "none" if outcomes - {"deny"} == set()

overall(false, outcomes) := "partial" if outcomes - {"deny"} != set()
