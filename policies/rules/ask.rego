# METADATA
# title: Asked items
# description: |
#   An ask is one item of a question that is not refused as a whole: the row of what its purpose may have of the item (shape.rego),
#   with `requested` the fields that it names, all of the item when it names none, or all of the ticket's when a ticket is redeemed.
#   Of these, `free` need no grant and `wanted` need one. An item without row has no ask.
package consent.asked_items

import data.consent.case_refusals
import data.consent.lists
import data.consent.table

# METADATA
# title: Undivided items of plain questions
# description: |
#   Asked for as a whole, and going as they stand if the enterprise grants them: nothing of them is to be looked at field by field.
undivided := {q: codes |
	some q in case_refusals.plain
	unprofiled[q]
	asked := input.questions[q]
	codes := {code |
		some code in asked.items
		table[asked.purpose][code].undivided == true
	}
}

unprofiled := {q | input.questions[q].product == null} | {q |
	asked := input.questions[q]
	asked.offers[asked.product].items == null
}

# METADATA
# title: Asks by question and item; none for a refused question
asks := object.union(plain_asks, special_asks)

# Plain questions ask for items as a whole: the rows themselves are their asks.
plain_asks := {q: rows |
	some q in case_refusals.plain
	asked := input.questions[q]
	rows := object.filter(table[asked.purpose], asked.items)
}

special_asks := {q: rows |
	some q in case_refusals.allowed
	asked := input.questions[q]
	rows := {code: ask |
		some code in asked.items
		ask := ask_by_field(asked, code, table[asked.purpose][code])
	}
}

ask_by_field(asked, code, row) := ask if {
	requested := requested_fields(asked, code, row)
	givable := lists.meet(requested, row.givable)
	free := free_fields(asked.action, row, requested)
	ask := object.union(row, {
		"undivided": false,
		"requested": requested,
		"givable": givable,
		"remainder": lists.less(requested, givable),
		"free": free,
		"wanted": wanted_fields(asked.way[3], lists.less(givable, free)),
	})
}

requested_fields(asked, code, _) := asked.more.fields[code]

requested_fields(asked, code, row) := row.all if {
	not asked.more.fields[code]
	not asked.more.ticket
}

requested_fields(asked, code, _) := sort(object.get(asked.more.ticket.items, code, [])) if {
	not asked.more.fields[code]
	asked.more.ticket
}

# METADATA
# title: What needs no grant
# description: |
#   Fields that the official lists share openly. A registered joint model reads commercial data without a grant, because no detail
#   leaves the platform; personal data it does not.
# custom: {clause: 国办发〔2021〕52号 二(六), 附件; 国办发〔2024〕15号 附件}
free_fields(action, row, requested) := lists.meet(row.free, requested) if action != "model"

free_fields("model", row, requested) := lists.meet(row.modelled, requested)

# METADATA
# title: What only a grant can give
# description: In bulk, a grant of one enterprise gives nothing.
# custom: {clause: 国办发〔2021〕52号 二(六), 四(九)}
wanted_fields("single", fields) := fields

wanted_fields(service, _) := [] if service != "single"
