# METADATA
# title: Authorization requests
# description: |
#   The same rules judge what an institution asks an enterprise to grant, before she is shown it. One detail that is not kept
#   refuses the request; the advice says what would be kept. An open item may stand in a request: granting it changes nothing.
#   Absent `fields` ask for all that the purpose needs, apart from numbers of identity documents and fields about third parties,
#   which are granted only where a request names them and the law lets the enterprise grant them.
package consent.request

import data.consent.case_refusals
import data.consent.catalogue
import data.consent.grants_held
import data.consent.matrix
import data.consent.table

# METADATA
# title: The verdicts
# entrypoint: true
answers := [answer |
	pushed := input.requests[r]
	places := [n | input.questions[n].request == r]
	details := [verdict | n := places[_]; verdict := verdicts[n]]
	asked := count({[n, unit] | n := places[_]; some unit in units[n].asked})
	beyond := count({[n, unit] | n := places[_]; some unit in units[n].beyond})
	answer := {
		"key": pushed.key,
		"revision": data.consent.revision,
		"verdict": overall(details, pushed.count),
		"details": details,
		"excess": share(beyond, asked),
	}
]

# METADATA
# title: The item does not exist or cannot be selected
# custom: {code: item.unknown, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 信息项不存在或不可选}
faults[n] contains "item.unknown" if {
	some n, detail in input.questions
	not known[n]
}

# METADATA
# title: The purpose does not need the item
# custom: {code: item.not_necessary, clause: 发改办财金〔2022〕299号 四, zh: 该用途不需要此信息项}
faults[n] contains "item.not_necessary" if {
	some n, detail in input.questions
	known[n]
	data.consent.purposes.financing[detail.purpose]
	not bounds[n]
}

# METADATA
# title: The product's profile leaves the item out
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四), zh: 产品的数据需求不含此信息项}
faults[n] contains "item.not_necessary" if {
	some n, detail in input.questions
	profile := detail.offers[detail.product].items
	profile != null
	known[n]
	not detail.item in profile
}

# METADATA
# title: The item is outside what the client may ask for
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四), zh: 该客户端未获准请求此信息项}
faults[n] contains "item.not_necessary" if {
	some n, detail in input.questions
	detail.allowed_items != null
	known[n]
	not detail.item in detail.allowed_items
}

# METADATA
# title: The purpose is outside what the client may ask for
# custom: {code: purpose.not_declared, clause: 国办发〔2021〕52号 四(十), zh: 该客户端未获准就此用途请求授权}
faults[n] contains "purpose.not_declared" if {
	some n, detail in input.questions
	detail.allowed_purposes != null
	not detail.purpose in detail.allowed_purposes
}

# METADATA
# title: A field that the item does not have
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 信息项没有该字段}
faults[n] contains "field.not_listed" if {
	some n, detail in input.questions
	fields := known[n]
	count(named[n] - fields) > 0
}

# METADATA
# title: No field at all
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件, zh: 未要求任何字段}
faults[n] contains "field.not_listed" if {
	some n, detail in input.questions
	known[n]
	detail.fields == []
}

# METADATA
# title: A field about a third party
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一), zh: 涉及他人的字段}
faults[n] contains "field.third_party" if {
	some n, detail in input.questions
	count(named[n] & others[n]) > 0
}

# METADATA
# title: A field that the purpose does not need
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四, zh: 该用途不需要的字段}
faults[n] contains "field.not_necessary" if {
	some n, detail in input.questions
	bounds[n]
	own := (named[n] & known[n]) - others[n]
	count(own - needs[n]) > 0
}

# METADATA
# title: All of an item that holds nothing but what must be named
# custom: {code: field.identity_document, clause: 国办发〔2021〕52号 附件 10, zh: 信息项只含须逐一列明的证件字段}
faults[n] contains "field.identity_document" if {
	some n, detail in input.questions
	detail.fields == null
	bounds[n]
	count(keepable[n]) == 0
}

# METADATA
# title: Detail of an item that is shared by verification only
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三, zh: 只供核验的信息项要求明细}
faults[n] contains "mode.verification_only" if {
	some n, detail in input.questions
	detail.purpose != "modelling"
	not detail.action in {"verify", "model"}
	verified_only(detail.item)
}

# METADATA
# title: Detail for a model
# custom: {code: mode.model_only, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七), zh: 联合建模要求明细}
faults[n] contains "mode.model_only" if {
	some n, detail in input.questions
	detail.purpose == "modelling"
	detail.action != "model"
}

# METADATA
# title: Over before it begins
# custom: {code: grant.expired, clause: 国办发〔2021〕52号 四(九), zh: 有效期在开始前已结束}
faults[n] contains "grant.expired" if {
	some n, detail in input.questions
	not to_come(detail)
}

# METADATA
# title: Valid for longer than the purpose allows
# custom: {code: grant.validity_exceeded, clause: 发改办财金〔2022〕299号 四, zh: 有效期超过该用途的上限}
faults[n] contains "grant.validity_exceeded" if {
	some n, detail in input.questions
	is_number(detail.valid_until)
	detail.valid_until > latest(input.now, bounds[n])
}

# METADATA
# title: Data older than the purpose may look back to
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件, zh: 数据早于该用途可回看的期限}
faults[n] contains "grant.range_exceeded" if {
	some n, detail in input.questions
	detail.data_from != null
	detail.data_from < grants_held.earliest(input.today, bounds[n].look_back_years)
}

# METADATA
# title: Oftener than the purpose allows
# description: Compared as uses in a month of 30 days; a number altogether may fall into one month.
# custom: {code: grant.frequency_exceeded, clause: 国办发〔2024〕15号 三(五), zh: 频次超过该用途的上限}
faults[n] contains "grant.frequency_exceeded" if {
	some n, detail in input.questions
	detail.frequency != null
	monthly(detail.frequency) > monthly(bounds[n].frequency)
}

# METADATA
# title: Kept for longer than the purpose allows
# custom: {code: grant.retention_exceeded, clause: 发改办财金〔2022〕299号 四, zh: 保存期超过该用途的上限}
faults[n] contains "grant.retention_exceeded" if {
	some n, detail in input.questions
	detail.retention_days != null
	detail.retention_days > bounds[n].retention_days
}

# All fields of each detail's item.
known[n] := fields if {
	some n, detail in input.questions
	catalogue.items[detail.item].outward == true
	fields := object.keys(catalogue.items[detail.item].fields)
}

# The matrix's entry of each detail.
bounds[n] := entry if {
	some n, detail in input.questions
	known[n]
	entry := matrix[detail.purpose][detail.item]
}

# Fields that the purpose needs of each detail's item.
needs[n] := fields if {
	some n, entry in bounds
	fields := {field | field := entry.fields[_]}
}

# Fields of each detail's item that are about third parties.
others[n] := fields if {
	some n, detail in input.questions
	known[n]
	fields := {field | field := catalogue.items[detail.item].third_party[_]}
}

# Fields that a detail names.
named[n] := fields if {
	some n, detail in input.questions
	fields := {field | field := detail.fields[_]}
}

# Fields that would be kept.
keepable[n] := fields if {
	some n, detail in input.questions
	able := {field | field := table[detail.purpose][detail.item].givable[_]}
	identity := {field | field := catalogue.items[detail.item].identity[_]}
	silent := {field | detail.fields == null; some field in (able - identity)}
	fields := silent | (named[n] & able)
}

# What would be kept instead.
cures[n].action := "verify" if {
	some n, codes in faults
	"mode.verification_only" in codes
}

cures[n].action := "model" if {
	some n, codes in faults
	"mode.model_only" in codes
}

cures[n].fields := sort(keepable[n]) if {
	some n, codes in faults
	count(codes & {"field.not_listed", "field.third_party", "field.not_necessary"}) > 0
	count(keepable[n]) > 0
}

cures[n].valid_until := latest(input.now, bounds[n]) if {
	some n, codes in faults
	"grant.validity_exceeded" in codes
}

cures[n].data_from := grants_held.earliest(input.today, bounds[n].look_back_years) if {
	some n, codes in faults
	"grant.range_exceeded" in codes
}

cures[n].frequency := bounds[n].frequency if {
	some n, codes in faults
	"grant.frequency_exceeded" in codes
}

cures[n].retention_days := bounds[n].retention_days if {
	some n, codes in faults
	"grant.retention_exceeded" in codes
}

# METADATA
# title: What goes beyond
# description: |
#   The excess score of a request is the share of what it asks for that goes beyond what could be kept, in percent, rounded up: 0 for a
#   request that is kept, 100 for one of which nothing could be. Counted are the fields of each detail and the bounds that it names
#   (validity always, first day, frequency, retention). All of a detail goes beyond when the item or the institution is refused; all its
#   fields when detail is asked for where a match or a model's result would do.
# custom: {clause: 发改办财金〔2022〕299号 四}
units[n] := {"asked": asked, "beyond": beyond} if {
	some n, detail in input.questions
	meant := meant_fields(n, detail)
	limits := limits_named(detail)
	asked := {["field", f] | some f in meant} | {["limit", l] | some l in limits}
	concerned := {limit_of[code] | some code in told[n]}
	fields := {["field", f] | some f in beyond_fields(n, meant)}
	beyond := beyond_units(n, asked, fields | {["limit", l] | some l in (limits & concerned)})
}

told[n] := codes if {
	some n, _ in input.questions
	codes := unentitled(n) | object.get(faults, n, set())
}

# All of it, where a code says that nothing of the detail could be kept.
beyond_units(n, asked, _) := asked if refused(n)

beyond_units(n, _, some_of_it) := some_of_it if not refused(n)

refused(n) if count((told[n] - partial_codes) - object.keys(limit_of)) > 0

meant_fields(n, _) := named[n] if count(named[n]) > 0

meant_fields(n, _) := {"all"} if {
	not count(named[n]) > 0
	not known[n]
}

meant_fields(n, detail) := known[n] if detail.fields == null

meant_fields(n, detail) := {"all"} if {
	detail.fields == []
	known[n]
}

beyond_fields(n, meant) := meant if count(told[n] & {"mode.verification_only", "mode.model_only"}) > 0

beyond_fields(n, meant) := meant - keepable[n] if {
	count(told[n] & {"mode.verification_only", "mode.model_only"}) == 0
	input.questions[n].fields != null
}

beyond_fields(n, _) := set() if {
	count(told[n] & {"mode.verification_only", "mode.model_only"}) == 0
	input.questions[n].fields == null
}

# Codes that leave something of a detail to be kept.
partial_codes := {"field.not_listed", "field.third_party", "field.not_necessary", "mode.verification_only", "mode.model_only"}

# The bound of a detail that a code is about.
limit_of := {
	"grant.expired": "validity",
	"grant.validity_exceeded": "validity",
	"grant.range_exceeded": "first day",
	"grant.frequency_exceeded": "frequency",
	"grant.retention_exceeded": "retention",
}

limits_named(detail) := {"validity"} | {name |
	some [name, value] in [["first day", detail.data_from], ["frequency", detail.frequency], ["retention", detail.retention_days]]
	value != null
}

share(_, 0) := 100

share(beyond, asked) := ceil((100 * beyond) / asked) if asked > 0

# One verdict per detail.
verdicts[n] := verdict if {
	some n, detail in input.questions
	codes := unentitled(n) | object.get(faults, n, set())
	verdict := {
		"identifier": detail.identifier,
		"verdict": word(codes),
		"codes": sort(codes),
		"advice": object.get(cures, n, null),
		"fields": kept(codes, object.get(keepable, n, set())),
	}
}

unentitled(n) := set() if case_refusals.entitled[n]

unentitled(n) := case_refusals.refusals[n] if not case_refusals.entitled[n]

kept(codes, fields) := sort(fields) if count(codes) == 0

kept(codes, _) := [] if count(codes) > 0

word(codes) := "keep" if count(codes) == 0

word(codes) := "downgrade" if {
	count(codes) > 0
	codes - {"mode.verification_only", "mode.model_only"} == set()
}

word(codes) := "refuse" if codes - {"mode.verification_only", "mode.model_only"} != set()

# Deny by default: kept is a request with details, each of which got a verdict and is kept.
overall(details, asked) := "keep" if {
	asked > 0
	count([line | line := details[_]; line.verdict == "keep"; count(line.fields) > 0]) == asked
} else := "refuse"

to_come(detail) if {
	is_number(detail.valid_until)
	input.now < detail.valid_until
}

verified_only(code) if catalogue.items[code].shares == "match"

latest(now, entry) := now + (entry.max_validity_days * 86400000)

monthly(frequency) := frequency.max * 30 if frequency.per == "day"

monthly(frequency) := frequency.max if frequency.per in {"month", "total"}
