# METADATA
# title: Asked items
# description: |
#   An ask is one item of a check that is not refused as a whole. `requested` are the fields it names, all of the item when it
#   names none, or all of the ticket's when a ticket is redeemed. Of these, `free` need no grant and `wanted` need one.
package consent.asked_items

import data.consent.case_refusals.sound
import data.consent.field_sets

# METADATA
# title: Asks by check and position; none for a refused check
asks := [asked |
	check := input.checks[c]
	asked := {i: ask |
		sound[c]
		line := check.items[i]
		ask := ask_of(check.purpose, line.item, line.fields, check.ticket, check.action, check.service)
	}
]

# METADATA
# title: What is asked by such words
# description: |
#   Nothing but the words decides, so that an engine answers for equal words once. `unlisted` are fields that the
#   item does not have.
ask_of(purpose, code, fields, ticket, action, service) := ask if {
	entry := object.get(field_sets.table, [purpose, code], field_sets.nothing)
	requested := requested_fields(fields, ticket, code, entry)
	givable := requested & entry.givable
	free := free_fields(action, code, entry, givable)
	ask := {
		"item": code,
		"entry": entry,
		"requested": requested,
		"givable": givable,
		"free": free,
		"wanted": wanted_fields(service, givable, free),
		"unlisted": requested - entry.every_field,
	}
}

requested_fields(fields, _, _, _) := {f | some f in fields} if fields != null

requested_fields(fields, ticket, _, entry) := entry.every_field if {
	fields == null
	ticket == null
}

requested_fields(fields, ticket, code, _) := {f | some f in object.get(ticket, ["items", code], [])} if {
	fields == null
	ticket != null
}

# METADATA
# title: What needs no grant
# description: |
#   Fields that the official lists share openly. A registered joint model reads commercial data without a grant, because no detail
#   leaves the platform; personal data it does not.
# custom: {clause: 国办发〔2021〕52号 二(六), 附件; 国办发〔2024〕15号 附件}
free_fields(action, _, entry, givable) := givable & entry.free if action != "model"

free_fields("model", code, entry, givable) := free if {
	commercial := givable - field_sets.personal(givable, code)
	modelled := {f | some f in commercial; entry.provision in {"grant", "verify"}; entry.consent_subject == "enterprise"}
	free := (givable & entry.free) | modelled
}

# METADATA
# title: What only a grant can give
# description: In bulk, a grant of one enterprise gives nothing.
# custom: {clause: 国办发〔2021〕52号 二(六), 四(九)}
wanted_fields(service, givable, free) := givable - free if service == "single"

wanted_fields(service, _, _) := set() if service != "single"
