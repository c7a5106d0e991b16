# METADATA
# title: What was granted
# description: |
#   One grant covers an item, never a union. Of the grants that pass every condition, the one that gives most of what is asked wins,
#   then the lowest grant_id, then the lowest identifier. A grant that does not pass is held up by its first hurdle, in the order of
#   their numbers. Numbers that are compared here have the same count of digits, because
#   rego-cpp orders numbers as text. If none passes, the item's code is that of the grant that came furthest: it names the cure.
package consent.grants_held

import data.consent.asked_items.asks
import data.consent.item_bars.fit
import data.consent.matrix

# METADATA
# title: Actions that a granted action covers
covers := {
	"query": {"query", "verify"},
	"verify": {"verify"},
	"push": {"push"},
	"report": {"report"},
	"model": {"model"},
	"collect": {"collect"},
}

# METADATA
# title: Who can grant an item, by whose consent it needs
grantors := {
	"enterprise": {"enterprise"},
	"person": {"person"},
	"enterprise_or_person": {"enterprise", "person"},
}

# METADATA
# title: Asks that need a grant
needing := [waiting |
	asked := asks[c]
	waiting := {i | some i in fit[c]; count(asked[i].wanted) > 0}
]

# METADATA
# title: Grants that pass every condition
# description: Deny by default; the hurdles below say of every other grant which condition it does not pass, and can permit nothing.
usable := [passing |
	waiting := needing[c]
	check := input.checks[c]
	unconfined := names_no_limits(check)
	passing := {g |
		count(waiting) > 0
		check.subject.verified == true
		held := check.grants[g]
		held.status == "active"
		held.item_status == "active"
		covers[held.action][check.action]
		lasting(check, held)
		same_purpose(check, held)
		within(unconfined, check, held)
		unspent(held)
	}
]

# METADATA
# title: The grant that covers each ask
# description: As [what it lacks, grant_id, identifier, its place, the wanted fields that it gives]; the first three decide.
cover := [found |
	waiting := needing[c]
	check := input.checks[c]
	found := {i: best |
		some i in waiting
		ask := asks[c][i]
		covering := {[missing, held.grant_id, held.identifier, g, gives] |
			some g in usable[c]
			held := check.grants[g]
			held.item == ask.item
			grantors[ask.entry.consent_subject][held.by]
			gives := ask.wanted & {f | f := held.fields[_]}
			count(gives) > 0
			missing := (1000 + count(ask.wanted)) - count(gives)
		}
		count(covering) > 0
		best := min(covering)
	}
]

# METADATA
# title: Grants for an ask that none covers, by the one who can consent to it
candidates[c][i] contains g if {
	some c, waiting in needing
	some i in waiting
	not cover[c][i]
	ask := asks[c][i]
	some g, held in input.checks[c].grants
	held.item == ask.item
	grantors[ask.entry.consent_subject][held.by]
}

# METADATA
# title: Grants whose hurdle is to be told
stumbling contains [c, g] if {
	some c, rows in candidates
	some i, names in rows
	some g in names
	not usable[c][g]
}

# METADATA
# title: The enterprise is registered but not verified by real name
# custom: {code: subject.not_verified, clause: 国办发〔2021〕52号 注3}
hurdles[c][g] contains [11, "subject.not_verified"] if {
	some [c, g] in stumbling
	not input.checks[c].subject.verified == true
}

# METADATA
# title: Granted for another action
# description: A query grant covers verification of the same fields.
# custom: {code: action.not_granted, clause: 发改办财金〔2022〕299号 三}
hurdles[c][g] contains [12, "action.not_granted"] if {
	some [c, g] in stumbling
	not covers[input.checks[c].grants[g].action][input.checks[c].action]
}

# METADATA
# title: Granted for another purpose or product
# description: A check that names no product is judged under the product of the grant.
# custom: {code: purpose.not_granted, clause: 国办发〔2021〕52号 四(九)(十)}
hurdles[c][g] contains [13, "purpose.not_granted"] if {
	some [c, g] in stumbling
	not same_purpose(input.checks[c], input.checks[c].grants[g])
}

# METADATA
# title: Revoked, as a whole or this item of it
# custom: {code: grant.revoked, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [14, "grant.revoked"] if {
	some [c, g] in stumbling
	not unrevoked(input.checks[c].grants[g])
}

# METADATA
# title: Past its last moment
# custom: {code: grant.expired, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [15, "grant.expired"] if {
	some [c, g] in stumbling
	not lasting(input.checks[c], input.checks[c].grants[g])
}

# METADATA
# title: Suspended
# custom: {code: grant.suspended, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [16, "grant.suspended"] if {
	some [c, g] in stumbling
	input.checks[c].grants[g].status == "suspended"
}

# METADATA
# title: A conduit that the grant does not name
# custom: {code: channel.not_allowed, clause: 财办会〔2025〕32号 三(一)}
hurdles[c][g] contains [17, "channel.not_allowed"] if {
	some [c, g] in stumbling
	not through(input.checks[c], input.checks[c].grants[g])
}

# METADATA
# title: A processor that the grant does not name
# custom: {code: channel.not_allowed, clause: 发改办财金〔2022〕299号 四}
hurdles[c][g] contains [17, "channel.not_allowed"] if {
	some [c, g] in stumbling
	not processed(input.checks[c], input.checks[c].grants[g])
}

# METADATA
# title: Older data than was granted, or than the purpose may look back to
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件}
hurdles[c][g] contains [18, "grant.range_exceeded"] if {
	some [c, g] in stumbling
	not in_range(input.checks[c], input.checks[c].grants[g])
}

# METADATA
# title: Used as often as was granted
# custom: {code: grant.frequency_exceeded, clause: 国办发〔2024〕15号 三(五)}
hurdles[c][g] contains [19, "grant.frequency_exceeded"] if {
	some [c, g] in stumbling
	not unspent(input.checks[c].grants[g])
}

# METADATA
# title: With grants, none of which passes every condition
# description: A grant that passes them all and covers nothing lacks the fields.
# custom: {code: field.not_granted, clause: 国办发〔2021〕52号 四(九)}
reasons[c][i] := furthest[3] if {
	some c, rows in candidates
	some i, names in rows
	reached := {[99 - first[0], held.grant_id, held.identifier, first[1]] |
		some g in names
		held := input.checks[c].grants[g]
		first := min(object.get(hurdles, [c, g], {[20, "field.not_granted"]}))
	}
	furthest := min(reached)
}

# METADATA
# title: Without the person's own consent
# custom: {code: item.person_consent_required, clause: 国办发〔2024〕15号 附件}
reasons[c][i] := "item.person_consent_required" if {
	some [c, i] in ungranted
	asks[c][i].entry.consent_subject == "person"
}

# METADATA
# title: Without any grant to this institution
# description: Another institution's grant, an enterprise that never registered and no grant at all answer alike.
# custom: {code: item.not_granted, clause: 国办发〔2021〕52号 二(六), 四(九); 银税合作 4.5.4}
reasons[c][i] := "item.not_granted" if {
	some [c, i] in ungranted
	asks[c][i].entry.consent_subject != "person"
}

# METADATA
# title: Asks that no grant covers and none was meant for
ungranted contains [c, i] if {
	some c, waiting in needing
	some i in waiting
	not cover[c][i]
	not candidates[c][i]
}

same_purpose(check, held) if {
	held.purpose == check.purpose
	held.product == null
}

same_purpose(check, held) if {
	held.purpose == check.purpose
	check.product in {null, held.product}
	offer := check.institution.products[held.product]
	check.purpose in offer.purposes
	data.consent.item_bars.in_profile(offer, held.item)
}

unrevoked(held) if {
	held.status in {"active", "suspended"}
	held.item_status == "active"
}

lasting(check, held) if {
	is_number(held.valid_until)
	check.now < held.valid_until
}

# Most checks name no conduit, no processor and no range.
names_no_limits(check) if {
	check.via == []
	check.processor == null
	check.data_from == null
	check.data_to == null
} else := false

within(unconfined, _, _) if unconfined == true

within(unconfined, check, held) if {
	unconfined == false
	through(check, held)
	processed(check, held)
	in_range(check, held)
}

through(check, _) if check.via == []

through(check, held) if {
	every conduit in check.via {
		conduit in held.via
	}
}

processed(check, _) if check.processor == null

processed(check, held) if held.processor == check.processor

in_range(check, _) if {
	check.data_from == null
	check.data_to == null
}

in_range(check, held) if {
	reaches(check.data_from, held.data_from)
	reaches(check.data_to, held.data_from)
	reaches(check.data_from, earliest(check.today, matrix[check.purpose][held.item].look_back_years))
}

reaches(day, _) if day == null

reaches(_, first) if first == null

reaches(day, first) if {
	is_string(day)
	is_string(first)
	first <= day
}

unspent(held) if held.frequency == null

unspent(held) if held.used < held.frequency.max

# METADATA
# title: The first day that may be looked back to
earliest(today, years) := sprintf("%d%s", [to_number(substring(today, 0, 4)) - years, substring(today, 4, -1)])
