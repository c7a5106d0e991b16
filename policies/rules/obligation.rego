# METADATA
# title: What the receiver must do
package consent.obligations_due

import data.consent.field_answers
import data.consent.field_sets
import data.consent.matrix

# METADATA
# title: How the fields of one answer are handled, in the order of the codes
handled(check, ask, _) := [] if plain(check, ask)

handled(check, ask, fields) := [duty |
	code := ["aggregate", "band", "do_not_store", "mask", "match_only"][_]
	concerned := affected(code, check, ask, fields)
	count(concerned) > 0
	duty := {"code": code, "fields": sort(concerned), "value": null}
] if {
	not plain(check, ask)
}

# Detail to the institution itself, of an item without bands, obliges to nothing but keeping it no longer than needed.
plain(check, ask) if {
	check.processor == null
	check.action in {"query", "push", "report", "collect"}
	ask.entry.verification == false
	count(ask.entry.banded) == 0
}

# METADATA
# title: What a grant gave is kept no longer than granted and needed
# custom: {clause: 发改办财金〔2022〕299号 四}
keeping(g, _, _) := [] if g == null

keeping(g, c, fields) := [{"code": "retain_days", "fields": fields, "value": days}] if {
	check := input.checks[c]
	held := check.grants[g]
	days := shorter(matrix[check.purpose][held.item].retention_days, object.get(held, "retention_days", null))
}

shorter(most, granted) := most if granted == null

shorter(most, granted) := most if {
	granted != null
	most <= granted
}

shorter(most, granted) := granted if {
	granted != null
	granted < most
}

# METADATA
# title: A model's output is an aggregate
# custom: {clause: 国办发〔2021〕52号 二(六)}
affected("aggregate", check, _, fields) := fields if check.action == "model"

# METADATA
# title: Figures that the list gives in bands stay in bands
# custom: {clause: 国办发〔2021〕52号 附件 5}
affected("band", _, ask, fields) := fields & ask.entry.banded

# METADATA
# title: A model's input is not kept
# custom: {clause: 国办发〔2024〕15号 四(七)}
affected("do_not_store", check, _, fields) := fields if check.action == "model"

# METADATA
# title: A third party that works for the bank sees sensitive fields masked, even with a grant
# custom: {clause: 发改办财金〔2022〕299号 四}
affected("mask", check, ask, fields) := field_sets.sensitive(fields, ask.item) if check.processor != null

# METADATA
# title: Answers of a verification are match or no match
# custom: {clause: 国办发〔2021〕52号 注2}
affected("match_only", check, ask, fields) := fields if field_answers.verifying(check.action, ask.entry.verification)
