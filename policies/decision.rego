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
	outcomes := {line.outcome | line := items[_]}
	reached := overall(check.action, outcomes, count([f | f := items[_].withheld[_]]))
	answer := {
		"key": check.key,
		"revision": data.consent.revision,
		"decision": reached == "full",
		"outcome": reached,
		"codes": sort({code | code := items[_].codes[_]}),
		"items": items,
	}
]

# METADATA
# title: The answer for one item
# description: What is given, or else a denial with its reasons.
answered(c, i, named) := answer if {
	given := field_answers.given[c][i]
	check := input.checks[c]
	ask := asks[c][i]
	fields := sort(given)
	withheld := sort(ask.requested - given)
	handled := obligations_due.handled(check, ask, given)
	held := object.get(grants_held.cover[c], i, [null, null, null, null])
	word := outcome(check.action, ask.entry.verification, count(withheld), handled)
	answer := {
		"item": named,
		"outcome": word,
		"basis": basis(held[3], c, ask.entry.provision),
		"grant_id": held[1],
		"identifier": held[2],
		"fields": fields,
		"withheld": withheld,
		"codes": explained(word, check.action, count(withheld), c, i),
		"obligations": array.concat(handled, obligations_due.keeping(held[3], c, fields)),
		"flags": flags(c, named),
	}
} else := denied(c, i, named)

denied(c, i, named) := {
	"item": named,
	"outcome": "deny",
	"basis": null,
	"grant_id": null,
	"identifier": null,
	"fields": [],
	"withheld": [],
	"codes": sort(lacking(c, i)),
	"obligations": [],
	"flags": flags(c, named),
}

# Nothing is to be explained where nothing is withheld and the answer is not weaker than what was asked.
explained(word, action, withheld, c, i) := [] if {
	withheld == 0
	word != "verify_only"
} else := [] if {
	withheld == 0
	action == "verify"
} else := sort(field_answers.reasons[c][i])

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

outcome(action, verification, withheld, handled) := "model_only" if {
	action == "model"
} else := "verify_only" if {
	field_answers.verifying(action, verification)
} else := "permit_masked" if {
	withheld > 0
} else := "permit_masked" if {
	some duty in handled
	duty.code in {"mask", "band"}
} else := "permit"

basis(g, c, provision) := "person" if {
	input.checks[c].grants[g].by == "person"
} else := "grant" if {
	g != null
} else := "open" if {
	provision in {"open", "open_except_fields"}
} else := "model"

flags(c, named) := ["disputed"] if {
	named in input.checks[c].disputed
} else := []

# Full is what the action asked, wholly: detail for detail, a match for a verification, a model's output for a model.
overall(action, outcomes, withheld) := "full" if {
	withheld == 0
	wish := object.get({"verify": "verify_only", "model": "model_only"}, action, "permit")
	outcomes == {wish}
} else := "none" if {
	count(outcomes - {"deny"}) == 0
} else := "partial"
