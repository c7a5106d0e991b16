# METADATA
# title: Decisions
# description: |
#   One answer per check, in the order of the input. An item is denied unless something above gives it a field; nothing here
#   can add to what was given.
package consent.decision

import data.consent.asked_items.asks
import data.consent.case_refusals
import data.consent.field_answers
import data.consent.grants_held
import data.consent.item_bars
import data.consent.obligations_due

# METADATA
# title: The answers
# entrypoint: true
answers := [answer |
	check := input.checks[c]
	items := [line | named := check.items[i].item; line := answered(c, i, named)]
	fully := full(check.action, items)
	answer := {
		"key": check.key,
		"revision": data.consent.revision,
		"decision": fully,
		"outcome": overall(fully, items),
		"codes": sort({code | code := items[_].codes[_]}),
		"items": items,
	}
]

# METADATA
# title: The answer for one item
# description: What is given, or else a denial with its reasons.
answered(c, i, named) := answer if {
	fields := field_answers.given[c][i]
	check := input.checks[c]
	ask := asks[c][i]
	withheld := ask.requested - fields
	duties := obligations_due.duties(c, i, fields)
	answer := {
		"item": named,
		"outcome": outcome(check, ask, withheld, duties),
		"basis": basis(c, i),
		"grant_id": object.get(grants_held.cover[c], [i, 1], null),
		"identifier": object.get(grants_held.cover[c], [i, 2], null),
		"fields": sort(fields),
		"withheld": sort(withheld),
		"codes": explained(c, i),
		"obligations": duties,
		"flags": flags(check, named),
	}
} else := {
	"item": named,
	"outcome": "deny",
	"basis": null,
	"grant_id": null,
	"identifier": null,
	"fields": [],
	"withheld": [],
	"codes": sort(lacking(c, i)),
	"obligations": [],
	"flags": flags(input.checks[c], named),
}

explained(c, i) := sort(codes) if {
	codes := field_answers.reasons[c][i]
} else := []

# The first that applies: the check is refused as a whole; the item is barred; the caller has no value to compare; nothing but
# numbers of identity documents was asked of an open item; no grant covers the item. What nothing explains is denied all the same.
lacking(c, i) := case_refusals.refusals[c] if {
	not case_refusals.sound[c]
} else := item_bars.bars[c][i] if {
	not item_bars.fit[c][i]
} else := {"mode.verification_only"} if {
	count(field_answers.offered[c][i]) > 0
} else := {"field.identity_document"} if {
	asks[c][i].entry.provision in {"open", "open_except_fields"}
} else := {grants_held.reasons[c][i]} if {
	grants_held.reasons[c][i]
} else := {"policy.unavailable"}

outcome(check, ask, withheld, duties) := "model_only" if {
	check.action == "model"
} else := "verify_only" if {
	field_answers.verifying(check, ask)
} else := "permit_masked" if {
	count(withheld) > 0
} else := "permit_masked" if {
	some duty in duties
	duty.code in {"mask", "band"}
} else := "permit"

basis(c, i) := "person" if {
	input.checks[c].grants[grants_held.cover[c][i][3]].by == "person"
} else := "grant" if {
	grants_held.cover[c][i]
} else := "open" if {
	asks[c][i].entry.provision in {"open", "open_except_fields"}
} else := "model"

flags(check, named) := ["disputed"] if {
	named in check.disputed
} else := []

# What the action asked, wholly: detail for detail, a match for a verification, a model's output for a model.
full(action, items) if {
	count(items) > 0
	wish := object.get({"verify": "verify_only", "model": "model_only"}, action, "permit")
	{line.outcome | line := items[_]} == {wish}
	{f | f := items[_].withheld[_]} == set()
} else := false

overall(true, _) := "full"

overall(false, items) := "none" if {line.outcome | line := items[_]} - {"deny"} == set()

overall(false, items) := "partial" if {line.outcome | line := items[_]} - {"deny"} != set()
