# Why no grant covers an item. These rules explain and can permit nothing: a grant is held up by its first hurdle, in the order of their
# numbers. If no grant passes, the item's code is that of the grant that came furthest: it names the cure.
package consent.grants_held

import data.consent.asked_items.asks
import data.consent.item_bars
import data.consent.trials

# METADATA
# title: Items that need a grant and have none that covers them
uncovered := [[v, code, q] |
	[n, _, _] := trials.trials[v]
	q := input.cases[n].question
	ask := item_bars.fit[q][code]
	ask.wanted != []
	not trials.cover[v][code]
]

# METADATA
# title: Grants for such an item, by the one who can consent to it
candidates[v][code] contains line if {
	some [v, code, q] in uncovered
	some [line, t] in held(v, code)
	grantors[asks[q][code].consent_subject][input.terms[t].by]
}

# METADATA
# title: Those of them whose hurdle is to be told, each with its question and terms
stumbling contains [v, line, q, t] if {
	some [v, code, q] in uncovered
	some [line, t] in held(v, code)
}

held(v, code) := object.get(input.cases[trials.trials[v][0]].held, code, [])

# METADATA
# title: The enterprise is registered but not verified by real name
# custom: {code: subject.not_verified, clause: 国办发〔2021〕52号 注3, zh: 企业已注册但未实名}
hurdles[v][line] contains [11, "subject.not_verified"] if {
	some [v, line, q, _] in stumbling
	not verified(input.questions[q])
}

# METADATA
# title: Granted for another action
# description: A query grant covers verification of the same fields.
# custom: {code: action.not_granted, clause: 发改办财金〔2022〕299号 三, zh: 授权的是其他方式}
hurdles[v][line] contains [12, "action.not_granted"] if {
	some [v, line, q, t] in stumbling
	not input.terms[t].head[2] in covered_by[input.questions[q].action]
}

# METADATA
# title: Granted for another purpose or product
# description: A check that names no product is judged under the product of the grant.
# custom: {code: purpose.not_granted, clause: 国办发〔2021〕52号 四(九)(十), zh: 授权的是其他用途或产品}
hurdles[v][line] contains [13, "purpose.not_granted"] if {
	some [v, line, q, t] in stumbling
	not for_this(input.questions[q], input.terms[t])
}

# METADATA
# title: Revoked, as a whole or this item of it
# custom: {code: grant.revoked, clause: 国办发〔2021〕52号 四(九), zh: 授权已整体或就该项撤回}
hurdles[v][line] contains [14, "grant.revoked"] if {
	some [v, line, _, t] in stumbling
	not unrevoked(input.terms[t])
}

# METADATA
# title: Past its last moment, or used as often as was granted
hurdles[v][line] contains hurdle if {
	some [v, line, _, _] in stumbling
	some [hurdle, lines] in trials.trials[v][2]
	line in lines
}

# METADATA
# title: Suspended
# custom: {code: grant.suspended, clause: 国办发〔2021〕52号 四(九), zh: 授权已暂停}
hurdles[v][line] contains [16, "grant.suspended"] if {
	some [v, line, _, t] in stumbling
	input.terms[t].head[0] == "suspended"
}

# METADATA
# title: A conduit that the grant does not name
# custom: {code: channel.not_allowed, clause: 财办会〔2025〕32号 三(一), zh: 授权未列明途经的通道}
hurdles[v][line] contains [17, "channel.not_allowed"] if {
	some [v, line, q, t] in stumbling
	not through(input.questions[q], input.terms[t])
}

# METADATA
# title: A processor that the grant does not name
# custom: {code: channel.not_allowed, clause: 发改办财金〔2022〕299号 四, zh: 授权未列明受托处理的第三方}
hurdles[v][line] contains [17, "channel.not_allowed"] if {
	some [v, line, q, t] in stumbling
	not processed(input.questions[q], input.terms[t])
}

# METADATA
# title: Older data than was granted, or than the purpose may look back to
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件, zh: 数据期间早于授权或用途可回看的期间}
hurdles[v][line] contains [18, "grant.range_exceeded"] if {
	some [v, line, q, t] in stumbling
	not recent(q, input.terms[t])
}

# METADATA
# title: With grants, none of which passes every condition
# description: A grant that passes them all and covers nothing lacks the fields.
# custom: {code: field.not_granted, clause: 国办发〔2021〕52号 四(九), zh: 授权未列该字段}
reasons[v][code] := furthest[2] if {
	some v, rows in candidates
	some code, lines in rows
	reached := {[99 - first[0], line, first[1]] |
		some line in lines
		first := min(object.get(hurdles, [v, line], {[20, "field.not_granted"]}))
	}
	furthest := min(reached)
}

# METADATA
# title: Without the person's own consent
# custom: {code: item.person_consent_required, clause: 国办发〔2024〕15号 附件, zh: 须本人单独同意}
reasons[v][code] := "item.person_consent_required" if {
	some [v, code, subject] in ungranted
	subject == "person"
}

# METADATA
# title: Without any grant to this institution
# description: Another institution's grant, an enterprise that never registered and no grant at all answer alike.
# custom: {code: item.not_granted, clause: 国办发〔2021〕52号 二(六), 四(九); 银税合作 4.5.4, zh: 未授权给本机构}
reasons[v][code] := "item.not_granted" if {
	some [v, code, subject] in ungranted
	subject != "person"
}

# METADATA
# title: Items that no grant covers and none was meant for
ungranted contains [v, code, subject] if {
	some [v, code, q] in uncovered
	not candidates[v][code]
	subject := asks[q][code].consent_subject
}

verified(asked) if asked.verified == true

for_this(asked, term) if {
	term.head[3] == asked.purpose
	term.head[4] in meant(asked)
	in_profile(asked, term)
}

unrevoked(term) if {
	term.head[0] in {"active", "suspended"}
	term.head[1] == "active"
}

recent(q, term) if in_range(input.questions[q], term, asks[q][term.item].look_back_years)
