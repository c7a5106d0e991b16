# METADATA
# title: What the receiver must do
package consent.obligations_due

import data.consent.asked_items.asks
import data.consent.field_answers
import data.consent.field_sets
import data.consent.grants_held.cover
import data.consent.matrix

# METADATA
# title: What the receiver must do with the fields of one answer, in the order of the codes
duties(c, i, fields) := array.concat(handling(c, i, fields), keeping(c, i, fields))

# METADATA
# title: How the fields are handled
handling(c, i, _) := [] if plain(input.checks[c], asks[c][i])

handling(c, i, fields) := [duty |
	code := ["aggregate", "band", "do_not_store", "mask", "match_only"][_]
	concerned := affected(code, c, i, fields)
	count(concerned) > 0
	duty := {"code": code, "fields": sort(concerned), "value": null}
] if {
	not plain(input.checks[c], asks[c][i])
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
keeping(c, i, fields) := [duty |
	check := input.checks[c]
	held := check.grants[cover[c][i][3]]
	most := matrix[check.purpose][held.item].retention_days
	duty := {"code": "retain_days", "fields": sort(fields), "value": shorter(most, object.get(held, "retention_days", null))}
]

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
affected("aggregate", c, _, fields) := fields if input.checks[c].action == "model"

# METADATA
# title: Figures that the list gives in bands stay in bands
# custom: {clause: 国办发〔2021〕52号 附件 5}
affected("band", c, i, fields) := fields & asks[c][i].entry.banded

# METADATA
# title: A model's input is not kept
# custom: {clause: 国办发〔2024〕15号 四(七)}
affected("do_not_store", c, _, fields) := fields if input.checks[c].action == "model"

# METADATA
# title: A third party that works for the bank sees sensitive fields masked, even with a grant
# custom: {clause: 发改办财金〔2022〕299号 四}
affected("mask", c, i, fields) := field_sets.sensitive(fields, asks[c][i].item) if input.checks[c].processor != null

# METADATA
# title: Answers of a verification are match or no match
# custom: {clause: 国办发〔2021〕52号 注2}
affected("match_only", c, i, fields) := fields if field_answers.verifying(input.checks[c], asks[c][i])
