# METADATA
# title: Authorization requests
# description: |
#   The same rules judge what an institution asks an enterprise to grant, before she is shown it. One detail that is not kept
#   refuses the request; the advice says what would be kept. An open item may stand in a request: granting it changes nothing.
#   Absent `fields` ask for all that the purpose needs, apart from numbers of identity documents and fields about third parties,
#   which are granted only where a request names them and the law lets the enterprise grant them.
package consent.request

import data.consent.case_refusals
import data.consent.cases_judged.cases
import data.consent.catalogue
import data.consent.field_sets
import data.consent.matrix

# METADATA
# title: The verdicts
# entrypoint: true
answers := [answer |
	pushed := input.requests[r]
	details := [verdict | cases[n].request == r; verdict := verdicts[n]]
	answer := {
		"key": pushed.key,
		"revision": data.consent.revision,
		"verdict": overall(details, count(object.get(input.requests[r], "details", []))),
		"details": details,
	}
]

# METADATA
# title: The item does not exist or cannot be selected
# custom: {code: item.unknown, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
faults[n] contains "item.unknown" if {
	some n, detail in cases
	not known[n]
}

# METADATA
# title: The purpose does not need the item
# custom: {code: item.not_necessary, clause: 发改办财金〔2022〕299号 四}
faults[n] contains "item.not_necessary" if {
	some n, detail in cases
	known[n]
	data.consent.purposes.financing[detail.purpose]
	not bounds[n]
}

# METADATA
# title: The product's profile leaves the item out
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四)}
faults[n] contains "item.not_necessary" if {
	some n, detail in cases
	profile := detail.institution.products[detail.product].items
	profile != null
	known[n]
	not detail.item in profile
}

# METADATA
# title: The item is outside what the client may ask for
# custom: {code: item.not_necessary, clause: 财办会〔2025〕32号 三(四)}
faults[n] contains "item.not_necessary" if {
	some n, detail in cases
	detail.allowed_items != null
	known[n]
	not detail.item in detail.allowed_items
}

# METADATA
# title: A field that the item does not have
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
faults[n] contains "field.not_listed" if {
	some n, detail in cases
	fields := known[n]
	count(named[n] - fields) > 0
}

# METADATA
# title: No field at all
# custom: {code: field.not_listed, clause: 国办发〔2021〕52号 附件; 国办发〔2024〕15号 附件}
faults[n] contains "field.not_listed" if {
	some n, detail in cases
	known[n]
	detail.fields == []
}

# METADATA
# title: A field about a third party
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一)}
faults[n] contains "field.third_party" if {
	some n, detail in cases
	count(named[n] & field_sets.table[detail.purpose][detail.item].third_party) > 0
}

# METADATA
# title: A field that the purpose does not need
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四}
faults[n] contains "field.not_necessary" if {
	some n, detail in cases
	bounds[n]
	own := (named[n] & known[n]) - field_sets.table[detail.purpose][detail.item].third_party
	count(own - field_sets.table[detail.purpose][detail.item].needed) > 0
}

# METADATA
# title: All of an item that holds nothing but what must be named
# custom: {code: field.identity_document, clause: 国办发〔2021〕52号 附件 10}
faults[n] contains "field.identity_document" if {
	some n, detail in cases
	detail.fields == null
	bounds[n]
	count(keepable[n]) == 0
}

# METADATA
# title: Detail of an item that is shared by verification only
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三}
faults[n] contains "mode.verification_only" if {
	some n, detail in cases
	detail.purpose != "modelling"
	not detail.action in {"verify", "model"}
	verified_only(detail.item)
}

# METADATA
# title: Detail for a model
# custom: {code: mode.model_only, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七)}
faults[n] contains "mode.model_only" if {
	some n, detail in cases
	detail.purpose == "modelling"
	detail.action != "model"
}

# METADATA
# title: Over before it begins
# custom: {code: grant.expired, clause: 国办发〔2021〕52号 四(九)}
faults[n] contains "grant.expired" if {
	some n, detail in cases
	not to_come(detail)
}

# METADATA
# title: Valid for longer than the purpose allows
# custom: {code: grant.validity_exceeded, clause: 发改办财金〔2022〕299号 四}
faults[n] contains "grant.validity_exceeded" if {
	some n, detail in cases
	detail.valid_until > latest(detail.now, bounds[n])
}

# METADATA
# title: Data older than the purpose may look back to
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件}
faults[n] contains "grant.range_exceeded" if {
	some n, detail in cases
	detail.data_from != null
	detail.data_from < data.consent.grants_held.earliest(detail.today, bounds[n].look_back_years)
}

# METADATA
# title: Oftener than the purpose allows
# description: Compared as uses in a month of 30 days; a number altogether may fall into one month.
# custom: {code: grant.frequency_exceeded, clause: 国办发〔2024〕15号 三(五)}
faults[n] contains "grant.frequency_exceeded" if {
	some n, detail in cases
	detail.frequency != null
	monthly(detail.frequency) > monthly(bounds[n].frequency)
}

# METADATA
# title: Kept for longer than the purpose allows
# custom: {code: grant.retention_exceeded, clause: 发改办财金〔2022〕299号 四}
faults[n] contains "grant.retention_exceeded" if {
	some n, detail in cases
	detail.retention_days != null
	detail.retention_days > bounds[n].retention_days
}

# METADATA
# title: All fields of each detail's item
known[n] := fields if {
	some n, detail in cases
	fields := field_sets.table[detail.purpose][detail.item].every_field
}

# METADATA
# title: The matrix's entry of each detail
bounds[n] := entry if {
	some n, detail in cases
	entry := matrix[detail.purpose][detail.item]
}

# METADATA
# title: Fields that a detail names
named[n] := fields if {
	some n, detail in cases
	fields := {field | field := detail.fields[_]}
}

# METADATA
# title: Fields that would be kept
keepable[n] := fields if {
	some n, detail in cases
	able := (field_sets.table[detail.purpose][detail.item].needed & known[n]) - field_sets.table[detail.purpose][detail.item].third_party
	silent := {field | detail.fields == null; some field in (able - field_sets.table[detail.purpose][detail.item].identity)}
	fields := silent | (named[n] & able)
}

# METADATA
# title: What would be kept instead
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

cures[n].valid_until := latest(cases[n].now, bounds[n]) if {
	some n, codes in faults
	"grant.validity_exceeded" in codes
}

cures[n].data_from := data.consent.grants_held.earliest(cases[n].today, bounds[n].look_back_years) if {
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
# title: One verdict per detail
verdicts[n] := verdict if {
	some n, detail in cases
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
	detail.now < detail.valid_until
}

verified_only(code) if catalogue.items[code].mode == "verification"

verified_only(code) if catalogue.items[code].provision == "verify"

latest(now, entry) := now + (entry.max_validity_days * 86400000)

monthly(frequency) := frequency.max * 30 if frequency.per == "day"

monthly(frequency) := frequency.max if frequency.per in {"month", "total"}
