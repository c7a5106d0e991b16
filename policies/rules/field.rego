# METADATA
# title: Fields given and fields withheld
# description: |
#   Given is what is free and what the covering grant gives. Every other requested field is withheld, for the first reason that
#   holds: a third party's, not needed, an identity document that was not granted, not granted.
package consent.field_answers

import data.consent.asked_items.asks
import data.consent.grants_held.cover
import data.consent.item_bars.fit

# METADATA
# title: Asks whose answer is at most match or no match
# description: The caller wants a verification, or the lists share the item in no other way.
# custom: {clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三}
verifying(action, _) if action == "verify"

verifying(action, verification) if {
	action != "model"
	verification == true
}

# METADATA
# title: Fields that may be given
offered := [rows |
	fitting := fit[c]
	rows := {i: fields |
		some i in fitting
		fields := asks[c][i].free | object.get(cover[c], [i, 4], set())
		count(fields) > 0
	}
]

# METADATA
# title: Fields that the answer names
# description: A verification compares the fields that the caller holds a value for; when it does not say which, all of them.
given := [rows |
	check := input.checks[c]
	rows := {i: fields |
		some i, may in offered[c]
		fields := compared(check.items[i].claimed, c, i, may)
		count(fields) > 0
	}
]

compared(claimed, _, _, fields) := fields if claimed == null

compared(claimed, c, i, fields) := fields if {
	claimed != null
	not verifying(input.checks[c].action, asks[c][i].entry.verification)
}

compared(claimed, c, i, fields) := fields & {f | some f in claimed} if {
	claimed != null
	verifying(input.checks[c].action, asks[c][i].entry.verification)
}

# METADATA
# title: Requested fields that the answer does not give
withheld := [rows |
	answered := given[c]
	rows := {i: fields |
		some i, named in answered
		fields := asks[c][i].requested - named
	}
]

# METADATA
# title: Answers to be explained
# description: Something is withheld, or less was given than the action asked.
lessened contains [c, i] if {
	some c, rows in withheld
	some i, fields in rows
	count(fields) > 0
}

lessened contains [c, i] if {
	some c, rows in given
	some i, _ in rows
	input.checks[c].action != "verify"
	verifying(input.checks[c].action, asks[c][i].entry.verification)
}

# METADATA
# title: Requested fields that were not even offered
refused[c][i] := fields if {
	some [c, i] in lessened
	fields := asks[c][i].requested - offered[c][i]
}

# METADATA
# title: Withheld for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一)}
reasons[c][i] contains "field.third_party" if {
	some [c, i] in lessened
	count(refused[c][i] & asks[c][i].entry.third_party) > 0
}

# METADATA
# title: Withheld because the purpose does not need it
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四}
reasons[c][i] contains "field.not_necessary" if {
	some [c, i] in lessened
	entry := asks[c][i].entry
	own := refused[c][i] - entry.third_party
	count(own - entry.needed) > 0
}

# METADATA
# title: Withheld because an identity document is provided outward only when granted
# custom: {code: field.identity_document, clause: 国办发〔2021〕52号 附件 10}
reasons[c][i] contains "field.identity_document" if {
	some [c, i] in lessened
	count((refused[c][i] & asks[c][i].givable) & asks[c][i].entry.identity) > 0
}

# METADATA
# title: Withheld because the grant does not name it
# custom: {code: field.not_granted, clause: 国办发〔2021〕52号 四(九)}
reasons[c][i] contains "field.not_granted" if {
	some [c, i] in lessened
	count((refused[c][i] & asks[c][i].givable) - asks[c][i].entry.identity) > 0
}

# METADATA
# title: Not compared, since the caller has no value to compare
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2}
reasons[c][i] contains "mode.verification_only" if {
	some [c, i] in lessened
	count(offered[c][i] - given[c][i]) > 0
}

# METADATA
# title: Asked as detail, answered as match or no match
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三}
reasons[c][i] contains "mode.verification_only" if {
	some [c, i] in lessened
	input.checks[c].action != "verify"
	verifying(input.checks[c].action, asks[c][i].entry.verification)
}
