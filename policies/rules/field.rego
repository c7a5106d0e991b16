# METADATA
# title: Fields given and fields withheld
# description: |
#   Given is what is free and what the covering grant gives. Every other requested field is withheld, for the first reason that
#   holds: a third party's, not needed, an identity document that was not granted, not granted.
package consent.field_answers

import data.consent.asked_items
import data.consent.catalogue
import data.consent.item_bars
import data.consent.lists
import data.consent.obligations_due
import data.consent.settings

# METADATA
# title: How an action is answered, by how the item is shared
# description: The caller wants a verification, or the lists share the item in no other way. A model gives results only.
# custom: {clause: 国办发〔2021〕52号 二(六), 注2; 发改办财金〔2022〕299号 三}
answered_as := {
	"query": {"detail": "permit", "match": "verify_only"},
	"push": {"detail": "permit", "match": "verify_only"},
	"report": {"detail": "permit", "match": "verify_only"},
	"collect": {"detail": "permit", "match": "verify_only"},
	"verify": {"detail": "verify_only", "match": "verify_only"},
	"model": {"detail": "model_only", "match": "model_only"},
}

# METADATA
# title: What needs no grant
# description: By question and item; `lacks` is by how many fields it falls short of what could be granted, from 1000.
bare := {q: given |
	asked := input.questions[q]
	given := {code: deed |
		some code in asked.items
		not asked_items.undivided[q][code]
		ask := item_bars.fit[q][code]
		ask.free != []
		deed := object.union(answer(asked, code, ask, ask.free), {"basis": free_basis[ask.open]})
	}
}

free_basis := {true: "open", false: "model"}

# METADATA
# title: The answer for an item of which these fields may be given
answer(asked, code, ask, may) := found if {
	word := answered_as[asked.action][ask.shares]
	fields := compared(asked, code, word, may)
	withheld := lists.less(ask.requested, fields)
	duties := obligations_due.handled(asked, ask, code, fields)
	reached := outcome(word, fields, withheld, duties)
	found := {
		"outcome": reached,
		"fields": fields,
		"withheld": withheld,
		"obligations": duties,
		"offered": may,
		"full": full(asked.action, reached, withheld),
	}
}

together([], gives) := gives

together(free, gives) := sort(array.concat(free, gives)) if free != []

# Nothing is given where nothing may be compared. Detail of which some is withheld or changed is masked.
outcome(word, fields, withheld, duties) := "deny" if {
	fields == []
} else := word if {
	word != "permit"
} else := "permit_masked" if {
	withheld != []
} else := "permit_masked" if {
	some duty in duties
	duty.code in {"mask", "band"}
} else := "permit"

# METADATA
# title: Whether this is what the action asked, wholly
# description: Detail for detail, a match for a verification, a model's output for a model.
full(action, reached, []) := reached == wished[action] # regal ignore:boolean-assignment

full(_, _, withheld) := false if withheld != []

wished := {
	"query": "permit",
	"push": "permit",
	"report": "permit",
	"collect": "permit",
	"verify": "verify_only",
	"model": "model_only",
}

# METADATA
# title: Fields that a verification compares
# description: |
#   Those that the caller holds a value for; when it does not say which, all of them. It is no oracle: a field that was compared as often
#   today as is allowed is not compared again.
# custom: {clause: 国办发〔2021〕52号 注2}
compared(_, _, word, may) := may if word != "verify_only"

compared(asked, code, "verify_only", may) := [f |
	f := claimed(asked, code, may)[_]
	not guessed_out(asked, f)
]

claimed(asked, code, may) := may if not asked.more.claimed[code]

claimed(asked, code, may) := lists.meet(may, asked.more.claimed[code])

guessed_out(asked, field) if asked.more.guesses[field] >= settings.guesses_per_day

# METADATA
# title: Answers to be explained
# description: |
#   Something is withheld, or less was given than the action asked. As [question, what it rests on (terms or the item), item]; what is
#   absent from an answer is the row's own, of which nothing is withheld.
lessened contains [q, key, code] if {
	some q, deeds in data.consent.grants_held.parted
	some key, deed in deeds
	code := input.terms[key].item
	weaker(input.questions[q].action, deed)
}

lessened contains [q, code, code] if {
	some q, deeds in bare
	some code, deed in deeds
	weaker(input.questions[q].action, deed)
}

weaker(_, deed) if deed.withheld != []

weaker(action, deed) if {
	deed.outcome == "verify_only"
	action != "verify"
}

deed_of(q, key) := data.consent.grants_held.parted[q][key]

deed_of(q, key) := bare[q][key]

# METADATA
# title: Requested fields that were not even offered
refused[q][key] := fields if {
	some [q, key, code] in lessened
	fields := lists.less(item_bars.fit[q][code].requested, deed_of(q, key).offered)
}

# METADATA
# title: Withheld for a third party's sake
# custom: {code: field.third_party, clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 五(十一), zh: 涉及他人的字段，企业不能代为同意}
reasons[q][key] contains "field.third_party" if {
	some [q, key, code] in lessened
	some f in refused[q][key]
	f in catalogue.items[code].third_party
}

# METADATA
# title: Withheld because the purpose does not need it
# custom: {code: field.not_necessary, clause: 发改办财金〔2022〕299号 四, zh: 该用途不需要的字段}
reasons[q][key] contains "field.not_necessary" if {
	some [q, key, code] in lessened
	some f in refused[q][key]
	not f in catalogue.items[code].third_party
	not f in item_bars.fit[q][code].givable
}

# METADATA
# title: Withheld because an identity document is provided outward only when granted
# custom: {code: field.identity_document, clause: 国办发〔2021〕52号 附件 10, zh: 证件类型和号码对外提供须经授权}
reasons[q][key] contains "field.identity_document" if {
	some [q, key, code] in lessened
	some f in refused[q][key]
	f in item_bars.fit[q][code].givable
	f in catalogue.items[code].identity
}

# METADATA
# title: Withheld because the grant does not name it
# custom: {code: field.not_granted, clause: 国办发〔2021〕52号 四(九), zh: 授权未列的字段}
reasons[q][key] contains "field.not_granted" if {
	some [q, key, code] in lessened
	some f in refused[q][key]
	f in item_bars.fit[q][code].givable
	not f in catalogue.items[code].identity
}

# METADATA
# title: Not compared, since the caller has no value to compare
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2, zh: 调用方未提供待核验值}
reasons[q][key] contains "mode.verification_only" if {
	some [q, key, code] in lessened
	deed := deed_of(q, key)
	answered_as[input.questions[q].action][item_bars.fit[q][code].shares] == "verify_only"
	count(claimed(input.questions[q], code, deed.offered)) < count(deed.offered)
}

# METADATA
# title: Not compared again today
# custom: {code: mode.too_many_guesses, clause: 国办发〔2021〕52号 注2, zh: 该字段今日核验次数已满}
reasons[q][key] contains "mode.too_many_guesses" if {
	some [q, key, code] in lessened
	asked := input.questions[q]
	answered_as[asked.action][item_bars.fit[q][code].shares] == "verify_only"
	some f in claimed(asked, code, deed_of(q, key).offered)
	guessed_out(asked, f)
}

# METADATA
# title: Asked as detail, answered as match or no match
# custom: {code: mode.verification_only, clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三, zh: 要求明细，只答一致或不一致}
reasons[q][key] contains "mode.verification_only" if {
	some [q, key, code] in lessened
	action := input.questions[q].action
	action != "verify"
	answered_as[action][item_bars.fit[q][code].shares] == "verify_only"
}
