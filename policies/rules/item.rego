# METADATA
# title: Necessity of the item and its fields, and the way it may go
# description: |
#   最小、必要: a purpose gets the items and fields that the matrix lists for it, a product's profile can only narrow them, and
#   an item that is not listed anywhere does not exist. These bars hold before any grant is looked at.
package consent.item_bars

import data.consent.asked_items.asks
import data.consent.settings

# METADATA
# title: Asks that nothing bars
# description: Deny by default; the rules below say of every other ask what bars it, and can permit nothing.
fit := [fitting |
	asked := asks[c]
	check := input.checks[c]
	fitting := {i |
		ask := asked[i]
		count(ask.givable) > 0
		count(ask.unlisted) == 0
		profiled(check, ask.item)
		ticketed(check, ask)
		served(check, ask)
		own_domain(check, ask.item)
		model_registered(check, ask.item)
	}
]

# METADATA
# title: Barred asks
unfit := [[c, i] |
	asked := asks[c]
	asked[i]
	not fit[c][i]
]

# METADATA
# title: The item does not exist or cannot be selected
# custom: {code: item.unknown, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "item.unknown" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision == "none"
}

# METADATA
# title: The purpose does not need the item
# custom: {code: item.not_necessary, clause: 发改办财金〔2022〕299号 四}
bars[c][i] contains "item.not_necessary" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	count(ask.entry.needed) == 0
}

# METADATA
# title: The product's profile leaves the item out
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四)}
bars[c][i] contains "item.not_necessary" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	not profiled(input.checks[c], ask.item)
}

# METADATA
# title: A field that the item does not have
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "field.not_listed" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	count(ask.requested - ask.entry.every_field) > 0
}

# METADATA
# title: No field at all was asked for
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
bars[c][i] contains "field.not_listed" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	input.checks[c].items[i].fields == []
}

# METADATA
# title: Nothing of what was asked may go to anybody for this purpose, for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一)}
bars[c][i] contains "field.third_party" if {
	some [c, i] in unfit
	ask := asks[c][i]
	count(ask.entry.needed) > 0
	count(ask.givable) == 0
	count(ask.requested & ask.entry.third_party) > 0
}

# METADATA
# title: Nothing of what was asked is needed for this purpose
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四}
bars[c][i] contains "field.not_necessary" if {
	some [c, i] in unfit
	ask := asks[c][i]
	count(ask.entry.needed) > 0
	count(ask.givable) == 0
	others := (ask.requested & ask.entry.every_field) - ask.entry.third_party
	count(others) > 0
}

# METADATA
# title: The ticket does not name the item or one of the fields
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十)}
bars[c][i] contains "ticket.invalid" if {
	some [c, i] in unfit
	not ticketed(input.checks[c], asks[c][i])
}

# METADATA
# title: In bulk only lawfully public items
# custom: {code: service.public_items_only, clause: 国办发〔2021〕52号 二(六)}
bars[c][i] contains "service.public_items_only" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	not served(input.checks[c], ask)
}

# METADATA
# title: A department or tax gateway serves its own domain only
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一)}
bars[c][i] contains "channel.not_allowed" if {
	some [c, i] in unfit
	not own_domain(input.checks[c], asks[c][i].item)
}

# METADATA
# title: The model is not registered for the item
# custom: {code: mode.model_not_registered, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七)}
bars[c][i] contains "mode.model_not_registered" if {
	some [c, i] in unfit
	ask := asks[c][i]
	ask.entry.provision != "none"
	not model_registered(input.checks[c], ask.item)
}

profiled(check, _) if check.product == null

profiled(check, code) if in_profile(check.institution.products[check.product], code)

in_profile(offer, _) if offer.items == null

in_profile(offer, code) if code in offer.items

ticketed(check, _) if check.ticket == null

ticketed(check, ask) if {
	named := {f | f := check.ticket.items[ask.item][_]}
	count(ask.requested) > 0
	ask.requested - named == set()
}

served(check, _) if check.service == "single"

served(_, ask) if ask.entry.provision in {"open", "open_except_fields"}

own_domain(check, _) if check.caller.kind == "institution"

own_domain(check, _) if not check.platform.kind in settings.own_domain_kinds

own_domain(check, code) if code in check.platform.own_items

model_registered(check, _) if check.action != "model"

model_registered(check, code) if {
	check.model.registered == true
	code in check.model.items
}
