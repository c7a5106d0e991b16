# METADATA
# title: Necessity of the item and its fields, and the way it may go
# description: |
#   最小、必要: a purpose gets the items and fields that the matrix lists for it, a product's profile can only narrow them, and
#   an item that is not listed anywhere does not exist. These bars hold before any grant is looked at.
package consent.item_bars

import data.consent.asked_items
import data.consent.asked_items.asks
import data.consent.case_refusals.sound
import data.consent.catalogue
import data.consent.lists
import data.consent.settings

# METADATA
# title: Asks that nothing bars
# description: Deny by default; the rules below say of every other item what bars it, and can permit nothing.
fit := object.union(plain_fit, special_fit)

# Of a plain question for a product without a profile of its own, whatever has a row gives something: nothing bars it.
plain_fit := {q: rows |
	some q in asked_items.unprofiled
	rows := asked_items.plain_asks[q]
}

special_fit := {q: fitting |
	some q in sound
	not plain_fit[q]
	asked := input.questions[q]
	fitting := {code: ask |
		some code in asked.items
		ask := asks[q][code]
		ask.givable != []
		listed(asked, code, ask.all)
		profiled(asked, code)
		ticketed(asked, code, ask.requested)
		served(asked.way[3], ask.open)
		own_domain(asked, code)
		model_registered(asked, code)
	}
}

# METADATA
# title: Barred items
unfit := [[q, code] |
	some q in sound
	code := input.questions[q].items[_]
	not fit[q][code]
]

# METADATA
# title: Barred items that exist
barred := [[q, code] |
	[q, code] := unfit[_]
	catalogue.items[code].outward == true
]

# METADATA
# title: The item does not exist or cannot be selected
# custom: {code: item.unknown, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 信息项不存在或不可选}
bars[q][code] contains "item.unknown" if {
	some [q, code] in unfit
	not catalogue.items[code].outward == true
}

# METADATA
# title: The purpose does not need the item
# custom: {code: item.not_necessary, clause: 发改办财金〔2022〕299号 四, zh: 该用途不需要此信息项}
bars[q][code] contains "item.not_necessary" if {
	some [q, code] in barred
	not asks[q][code]
}

# METADATA
# title: The product's profile leaves the item out
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四), zh: 产品的数据需求不含此信息项}
bars[q][code] contains "item.not_necessary" if {
	some [q, code] in barred
	not profiled(input.questions[q], code)
}

# METADATA
# title: A field that the item does not have
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 信息项没有该字段}
bars[q][code] contains "field.not_listed" if {
	some [q, code] in barred
	some f in named(q, code)
	not catalogue.items[code].fields[f]
}

# METADATA
# title: No field at all was asked for
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 未要求任何字段}
bars[q][code] contains "field.not_listed" if {
	some [q, code] in barred
	input.questions[q].more.fields[code] == []
}

# METADATA
# title: Nothing of what was asked may go to anybody for this purpose, for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一), zh: 所要求的只有他人信息}
bars[q][code] contains "field.third_party" if {
	some [q, code] in barred
	ask := asks[q][code]
	ask.givable == []
	some f in ask.requested
	f in catalogue.items[code].third_party
}

# METADATA
# title: Nothing of what was asked is needed for this purpose
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四, zh: 该用途不需要所要求的字段}
bars[q][code] contains "field.not_necessary" if {
	some [q, code] in barred
	ask := asks[q][code]
	ask.givable == []
	some f in ask.requested
	f in ask.all
	not f in catalogue.items[code].third_party
}

# METADATA
# title: The ticket does not name the item or one of the fields
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十), zh: 凭证不含该信息项或字段}
bars[q][code] contains "ticket.invalid" if {
	some [q, code] in unfit
	not covered_by_ticket(q, code)
}

# METADATA
# title: In bulk only lawfully public items
# custom: {code: service.public_items_only, clause: 国办发〔2021〕52号 二(六), zh: 批量推送限于依法公开的信息}
bars[q][code] contains "service.public_items_only" if {
	some [q, code] in barred
	not served(input.questions[q].way[3], catalogue.items[code].open)
}

# METADATA
# title: A department or tax gateway serves its own domain only
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一), zh: 部门、税务网关只可直供本领域信息}
bars[q][code] contains "channel.not_allowed" if {
	some [q, code] in unfit
	not own_domain(input.questions[q], code)
}

# METADATA
# title: The model is not registered for the item
# custom: {code: mode.model_not_registered, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七), zh: 模型未就该信息项登记}
bars[q][code] contains "mode.model_not_registered" if {
	some [q, code] in barred
	not model_registered(input.questions[q], code)
}

listed(asked, code, _) if not asked.more.fields[code]

listed(asked, code, every_field) if {
	count(asked.more.fields[code]) > 0
	lists.less(asked.more.fields[code], every_field) == []
}

profiled(asked, _) if asked.product == null

profiled(asked, code) if in_profile(asked.offers[asked.product], code)

in_profile(offer, _) if offer.items == null

in_profile(offer, code) if code in offer.items

ticketed(asked, _, _) if not asked.more.ticket

ticketed(asked, code, requested) if {
	count(requested) > 0
	lists.less(requested, asked.more.ticket.items[code]) == []
}

covered_by_ticket(q, _) if not input.questions[q].more.ticket

covered_by_ticket(q, code) if ticketed(input.questions[q], code, asks[q][code].requested)

# Of an item that the purpose has no row for, what the ticket names is looked at all the same.
covered_by_ticket(q, code) if {
	not asks[q][code]
	ticketed(input.questions[q], code, named(q, code))
}

served("single", _)

served(_, true)

own_domain(asked, _) if asked.way[0] == "institution"

own_domain(asked, _) if not input.parties[asked.more.platform].kind in settings.own_domain_kinds

own_domain(asked, code) if code in input.parties[asked.more.platform].own_items

model_registered(asked, _) if asked.action != "model"

model_registered(asked, code) if {
	asked.more.model.registered == true
	code in asked.more.model.items
}

# METADATA
# title: The fields that an item of a question names, itself or by its ticket
named(q, code) := input.questions[q].more.fields[code]

named(q, code) := object.get(input.questions[q].more.ticket.items, code, []) if not input.questions[q].more.fields[code]
