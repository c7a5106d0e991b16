# METADATA
# title: Decisions
# description: |
#   One answer per trial: a case with the standing of its grants. An item is denied unless something above gives it a field; nothing here
#   can add to what was given. Answers that rest on equal terms stand once, in `yields`; what is absent from them is the row's own.
package consent.decision

import data.consent.case_refusals
import data.consent.field_answers
import data.consent.grants_held
import data.consent.item_bars
import data.consent.trials

# METADATA
# title: The answers
# entrypoint: true
answers := {
	"revision": data.consent.revision,
	"reached": trials.reached_ends,
	"trials": judged,
	"yields": grants_held.yields,
	"reasons": field_answers.reasons,
}

judged := [answer |
	[n, usable, over] := trials.trials[v]
	q := input.cases[n].question
	given := trials.cover[v]
	deeds := grants_held.yields[q]
	full := [key | key := given[_][2]; deeds[key].full == true]
	some_given := [key | key := given[_][2]; deeds[key].outcome != "deny"]
	asked := count(input.questions[q].items)
	reached := overall(count(full), count(some_given), asked)
	answer := {
		"case": n,
		"usable": usable,
		"over": over,
		"decision": reached == "full",
		"outcome": reached,
		"given": given,
		"denied": denied(v, q, count(some_given) == asked),
	}
]

# METADATA
# title: The whole outcome
# description: Full is what the action asked, wholly, of each item. Deny by default; a question without items is not full.
overall(full, _, asked) := "full" if {
	asked > 0
	full == asked
}

overall(full, given, asked) := "partial" if {
	given > 0
	full < asked
}

overall(_, 0, _) := "none"

# METADATA
# title: Items that are denied, with their reasons
denied(_, _, true) := {}

denied(v, q, false) := {code: sort(lacking(v, q, code)) |
	code := input.questions[q].items[_]
	not answered(v, q, code)
}

answered(v, q, code) if grants_held.yields[q][trials.cover[v][code][2]].outcome != "deny"

# The first that applies: the question is refused as a whole; the item is barred; nothing may be compared; nothing but numbers of
# identity documents was asked of an open item; no grant covers the item. What nothing explains is denied all the same.
lacking(v, q, code) := case_refusals.refusals[q] if {
	not case_refusals.sound[q]
} else := item_bars.bars[q][code] if {
	not item_bars.fit[q][code]
} else := field_answers.reasons[q][trials.cover[v][code][2]] & {"mode.verification_only", "mode.too_many_guesses"} if {
	trials.cover[v][code]
} else := {"field.identity_document"} if {
	item_bars.fit[q][code].open
} else := {grants_held.reasons[v][code]} if {
	grants_held.reasons[v][code]
} else := {"policy.unavailable"}
