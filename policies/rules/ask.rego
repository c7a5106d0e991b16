# METADATA
# title: One asked item
# description: |
#   An ask is one item of a check that was not refused as a whole. `requested` are the fields it names, all of the item when it
#   names none, or all of the ticket's when a ticket is redeemed. `givable` of them are needed and no third party's.
package consent.asked_items

import data.consent.case_refusals.refusals
import data.consent.catalogue
import data.consent.field_sets

# METADATA
# title: Asks by check and position; none for a refused check
asks := [asked |
	check := input.checks[c]
	asked := [ask |
		not refusals[c]
		item := check.items[i]
		requested := {field | field := item.fields[_]} | {field | item.fields == null; field := available(check, item)[_]}
		needed := object.get(field_sets.needed[check.purpose], item.item, set())
		ask := {
			"item": item.item,
			"requested": requested,
			"needed": needed,
			"givable": (requested & needed) - object.get(field_sets.third_party, item.item, set()),
			"provision": object.get(catalogue.items, [item.item, "provision"], "none"),
			"verification": verification(item.item),
			"consent_subject": object.get(catalogue.items, [item.item, "consent_subject"], null),
		}
	]
]

available(check, item) := object.get(check.ticket.items, item.item, []) if {
	check.ticket != null
} else := object.get(field_sets.fields, item.item, set())

verification(code) if {
	catalogue.items[code].mode == "verification"
} else if {
	catalogue.items[code].provision == "verify"
} else := false
