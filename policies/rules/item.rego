# METADATA
# title: Necessity of the item and its fields, and the way it may go
# description: |
#   最小、必要: a purpose gets the items and fields that the matrix lists for it, a product's profile can only narrow them, and
#   an item that is not listed anywhere does not exist. These bars hold before any grant is looked at.
package consent.item_bars

import data.consent.asked_items.asks
import data.consent.field_sets

# METADATA
# title: The item does not exist or cannot be selected
# custom: {code: item.unknown, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "item.unknown" if {
	some c, asked in asks
	some i, ask in asked
	not field_sets.fields[ask.item]
}

# METADATA
# title: The purpose does not need the item
# custom: {code: item.not_necessary, clause: 发改办财金〔2022〕299号 四}
bars[c][i] contains "item.not_necessary" if {
	some c, asked in asks
	some i, ask in asked
	field_sets.fields[ask.item]
	count(ask.needed) == 0
}

# METADATA
# title: The product's profile leaves the item out
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四)}
bars[c][i] contains "item.not_necessary" if {
	some c, check in input.checks
	profile := check.institution.products[check.product].items
	profile != null
	some i, ask in asks[c]
	field_sets.fields[ask.item]
	not ask.item in profile
}

# METADATA
# title: A field that the item does not have
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "field.not_listed" if {
	some c, asked in asks
	some i, ask in asked
	count(ask.requested - field_sets.fields[ask.item]) > 0
}

# METADATA
# title: No field at all was asked for
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "field.not_listed" if {
	some c, asked in asks
	some i, ask in asked
	field_sets.fields[ask.item]
	input.checks[c].items[i].fields == []
}

# METADATA
# title: Nothing of what was asked may go to anybody for this purpose, for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一)}
bars[c][i] contains "field.third_party" if {
	some c, asked in asks
	some i, ask in asked
	count(ask.needed) > 0
	count(ask.givable) == 0
	count(ask.requested & field_sets.third_party[ask.item]) > 0
}

# METADATA
# title: Nothing of what was asked is needed for this purpose
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四}
bars[c][i] contains "field.not_necessary" if {
	some c, asked in asks
	some i, ask in asked
	count(ask.needed) > 0
	count(ask.givable) == 0
	others := (ask.requested & field_sets.fields[ask.item]) - field_sets.third_party[ask.item]
	count(others) > 0
}

# METADATA
# title: The ticket does not name the item or one of the fields
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十)}
bars[c][i] contains "ticket.invalid" if {
	some c, check in input.checks
	check.ticket != null
	some i, ask in asks[c]
	allowed := {field | field := check.ticket.items[ask.item][_]}
	not within(ask.requested, allowed)
}

# METADATA
# title: In bulk only lawfully public items
# custom: {code: service.public_items_only, clause: 国办发〔2021〕52号 二(六)}
bars[c][i] contains "service.public_items_only" if {
	some c, check in input.checks
	check.service != "single"
	some i, ask in asks[c]
	field_sets.fields[ask.item]
	not ask.provision in {"open", "open_except_fields"}
}

# METADATA
# title: A department or tax gateway serves its own domain only
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一)}
bars[c][i] contains "channel.not_allowed" if {
	some c, check in input.checks
	check.caller.kind == "platform"
	check.platform.kind in data.consent.settings.own_domain_kinds
	some i, ask in asks[c]
	not ask.item in object.get(check.platform, "own_items", [])
}

# METADATA
# title: The model is not registered for the item
# custom: {code: mode.model_not_registered, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七)}
bars[c][i] contains "mode.model_not_registered" if {
	some c, check in input.checks
	check.action == "model"
	some i, ask in asks[c]
	field_sets.fields[ask.item]
	not registered(check, ask.item)
}

registered(check, code) if {
	check.model.registered == true
	code in check.model.items
}

# An item that the ticket does not name allows nothing, not even nothing.
within(requested, allowed) if {
	count(allowed) > 0
	count(requested - allowed) == 0
}
