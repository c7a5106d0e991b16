# METADATA
# title: Fields given and fields withheld
# description: |
#   Given is what is free and what the covering grant gives. Every other requested field is withheld, for the first reason that
#   holds: a third party's, not needed, an identity document that was not granted, not granted.
package consent.field_answers

import data.consent.asked_items.asks
import data.consent.field_sets
import data.consent.free_fields
import data.consent.grants_held
import data.consent.item_bars.bars

# METADATA
# title: Fields that may be given
offered[c][i] := fields if {
	some c, asked in asks
	some i, ask in asked
	not bars[c][i]
	without := object.get(free_fields.open, [c, i], set()) | object.get(free_fields.modelled, [c, i], set())
	fields := without | granted(c, i, ask.givable)
}

# METADATA
# title: Fields that the answer names
given[c][i] := fields if {
	some c, items in offered
	some i, all in items
	fields := all - unclaimed(c, i, all)
	count(fields) > 0
}

# METADATA
# title: Requested fields that the answer does not give
withheld[c][i] := fields if {
	some c, items in given
	some i, all in items
	fields := asks[c][i].requested - all
	count(fields) > 0
}

# METADATA
# title: Withheld fields that were not offered
refused[c][i] := fields if {
	some c, items in given
	some i, _ in items
	fields := asks[c][i].requested - offered[c][i]
	count(fields) > 0
}

# METADATA
# title: Withheld for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一)}
reasons[c][i] contains "field.third_party" if {
	some c, items in refused
	some i, fields in items
	count(fields & field_sets.third_party[asks[c][i].item]) > 0
}

# METADATA
# title: Withheld because the purpose does not need it
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四}
reasons[c][i] contains "field.not_necessary" if {
	some c, items in refused
	some i, fields in items
	own := fields - field_sets.third_party[asks[c][i].item]
	count(own - asks[c][i].needed) > 0
}

# METADATA
# title: Withheld because an identity document is provided outward only when granted
# custom: {code: field.identity_document, clause: 国办发〔2021〕52号 附件 10}
reasons[c][i] contains "field.identity_document" if {
	some c, items in refused
	some i, fields in items
	count((fields & asks[c][i].givable) & field_sets.identity[asks[c][i].item]) > 0
}

# METADATA
# title: Withheld because the grant does not name it
# custom: {code: field.not_granted, clause: 国办发〔2021〕52号 四(九)}
reasons[c][i] contains "field.not_granted" if {
	some c, items in refused
	some i, fields in items
	count((fields & asks[c][i].givable) - field_sets.identity[asks[c][i].item]) > 0
}

# METADATA
# title: Not compared, since the caller has no value to compare
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2}
reasons[c][i] contains "mode.verification_only" if {
	some c, items in offered
	some i, fields in items
	count(unclaimed(c, i, fields)) > 0
}

# METADATA
# title: Asked as detail, answered as match or no match
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三}
reasons[c][i] contains "mode.verification_only" if {
	some c, items in given
	some i, _ in items
	asks[c][i].verification == true
	not input.checks[c].action in {"verify", "model"}
}

granted(c, i, givable) := givable & {field | field := input.checks[c].grants[grants_held.cover[c][i]].fields[_]}

# A verification compares the fields that the caller holds a value for; when it does not say which, all of them.
unclaimed(c, i, fields) := fields - {field | field := input.checks[c].items[i].claimed[_]} if {
	data.consent.sharing_modes.verifying[c][i]
	input.checks[c].items[i].claimed != null
} else := set()
