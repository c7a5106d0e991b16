# METADATA
# title: What the receiver must do
package consent.obligations_due

import data.consent.asked_items.asks
import data.consent.field_answers.given
import data.consent.field_sets
import data.consent.matrix
import data.consent.settings

# METADATA
# title: Answers of a verification are match or no match
# custom: {clause: 国办发〔2021〕52号 注2}
due[c][i].match_only := duty("match_only", fields, null) if {
	some c, items in given
	some i, fields in items
	data.consent.sharing_modes.verifying[c][i]
}

# METADATA
# title: A model's output is an aggregate, and its input is not kept
# custom: {clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七)}
due[c][i].aggregate := duty("aggregate", fields, null) if {
	some c, items in given
	input.checks[c].action == "model"
	some i, fields in items
}

due[c][i].do_not_store := duty("do_not_store", fields, null) if {
	some c, items in given
	input.checks[c].action == "model"
	some i, fields in items
}

# METADATA
# title: A third party that works for the bank sees sensitive fields masked, even with a grant
# custom: {clause: 发改办财金〔2022〕299号 四}
due[c][i].mask := duty("mask", fields, null) if {
	some c, items in given
	input.checks[c].processor != null
	some i, all in items
	fields := all & field_sets.sensitive[asks[c][i].item]
	count(fields) > 0
}

# METADATA
# title: Figures that the list gives in bands stay in bands
# custom: {clause: 国办发〔2021〕52号 附件 5}
due[c][i].band := duty("band", fields, null) if {
	some c, items in given
	some i, all in items
	fields := {field | some field in all; settings.banded[field]}
	count(fields) > 0
}

# METADATA
# title: What a grant gave is kept no longer than granted and needed
# custom: {clause: 发改办财金〔2022〕299号 四}
due[c][i].retain_days := duty("retain_days", fields, days) if {
	some c, covers in data.consent.grants_held.cover
	some i, g in covers
	fields := given[c][i]
	check := input.checks[c]
	most := matrix[check.purpose][asks[c][i].item].retention_days
	granted := object.get(check.grants[g], "retention_days", null)
	days := min({days | some days in {most, granted}; days != null})
}

duty(code, fields, value) := {"code": code, "fields": sort(fields), "value": value}
