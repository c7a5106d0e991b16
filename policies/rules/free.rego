# METADATA
# title: What needs no grant
# description: |
#   Items that the official lists share openly need no grant, but for numbers of identity documents, and for what concerns third
#   parties. A registered joint model reads commercial data without a grant, because no detail leaves; personal data it does not.
package consent.free_fields

import data.consent.asked_items.asks
import data.consent.field_sets
import data.consent.item_bars.bars

# METADATA
# title: Fields that the lists share openly
# custom: {basis: open, clause: 国办发〔2021〕52号 二(六), 附件; 国办发〔2024〕15号 附件}
open[c][i] := fields if {
	some c, asked in asks
	some i, ask in asked
	not bars[c][i]
	ask.provision in {"open", "open_except_fields"}
	fields := ask.givable - field_sets.identity[ask.item]
}

# METADATA
# title: Fields that a registered model may read
# custom: {basis: model, clause: 国办发〔2021〕52号 二(六)}
modelled[c][i] := fields if {
	some c, asked in asks
	input.checks[c].action == "model"
	some i, ask in asked
	not bars[c][i]
	ask.provision in {"grant", "verify"}
	ask.consent_subject == "enterprise"
	fields := ask.givable - field_sets.personal[ask.item]
}

# METADATA
# title: Fields that only a grant can give
insufficient[c][i] := wanted if {
	some c, asked in asks
	some i, ask in asked
	not bars[c][i]
	input.checks[c].service == "single"
	without := object.get(open, [c, i], set()) | object.get(modelled, [c, i], set())
	wanted := ask.givable - without
	count(wanted) > 0
}
