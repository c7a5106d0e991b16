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
	asked := [ask |
		sound[c]
		line := check.items[i]
		entry := object.get(field_sets.table, [check.purpose, line.item], field_sets.nothing)
		requested := requested_fields(check, line, entry)
		givable := requested & entry.givable
		free := free_fields(check, line, entry, givable)
		ask := {
			"item": line.item,
			"entry": entry,
			"requested": requested,
			"givable": givable,
			"free": free,
			"wanted": wanted_fields(check, givable, free),
		}
	]
]

requested_fields(_, line, _) := {f | some f in line.fields} if line.fields != null

requested_fields(check, line, entry) := entry.every_field if {
	line.fields == null
	check.ticket == null
}

requested_fields(check, line, _) := {f | f := check.ticket.items[line.item][_]} if {
	line.fields == null
	check.ticket != null
}

# METADATA
# title: What needs no grant
# description: |
#   Fields that the official lists share openly. A registered joint model reads commercial data without a grant, because no detail
#   leaves the platform; personal data it does not.
# custom: {clause: 国办发〔2021〕52号 二(六), 附件; 国办发〔2024〕15号 附件}
free_fields(check, _, entry, givable) := givable & entry.free if check.action != "model"

free_fields(check, line, entry, givable) := free if {
	check.action == "model"
	commercial := givable - field_sets.personal(givable, line.item)
	modelled := {f | some f in commercial; entry.provision in {"grant", "verify"}; entry.consent_subject == "enterprise"}
	free := (givable & entry.free) | modelled
}

# METADATA
# title: What only a grant can give
# description: In bulk, a grant of one enterprise gives nothing.
# custom: {clause: 国办发〔2021〕52号 二(六), 四(九)}
wanted_fields(check, givable, free) := givable - free if check.service == "single"

wanted_fields(check, _, _) := set() if check.service != "single"
