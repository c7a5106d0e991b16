# METADATA
# title: What was granted
# description: |
#   One grant covers an item, never a union. A grant is held up by the first hurdle that it does not pass, in the order below. Of
#   the grants that pass all, the one that gives most of what is asked wins, then the lowest grant_id, then the lowest identifier.
#   If none passes, the item's code is that of the grant that came furthest, so that the code names what would cure it.
package consent.grants_held

import data.consent.asked_items.asks
import data.consent.free_fields
import data.consent.item_bars.bars
import data.consent.matrix

# METADATA
# title: The enterprise is registered but not verified by real name
# custom: {code: subject.not_verified, clause: 国办发〔2021〕52号 注3}
hurdles[c][g] contains [1, "subject.not_verified"] if {
	some c, check in input.checks
	not check.subject.verified == true
	some g, _ in check.grants
}

# METADATA
# title: Granted for another action
# description: A query grant covers verification of the same fields.
# custom: {code: action.not_granted, clause: 发改办财金〔2022〕299号 三}
hurdles[c][g] contains [2, "action.not_granted"] if {
	some c, check in input.checks
	some g, held in check.grants
	held.action != check.action
	not covers_verification(held.action, check.action)
}

# METADATA
# title: Granted for another purpose or product
# description: A check that names no product is judged under the product of the grant.
# custom: {code: purpose.not_granted, clause: 国办发〔2021〕52号 四(九)(十)}
hurdles[c][g] contains [3, "purpose.not_granted"] if {
	some c, check in input.checks
	some g, held in check.grants
	not same_purpose(check, held)
}

# METADATA
# title: Revoked, as a whole or this item of it
# custom: {code: grant.revoked, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [4, "grant.revoked"] if {
	some c, check in input.checks
	some g, held in check.grants
	not standing(held)
}

# METADATA
# title: Past its last moment
# custom: {code: grant.expired, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [5, "grant.expired"] if {
	some c, check in input.checks
	some g, held in check.grants
	not lasting(check, held)
}

# METADATA
# title: Suspended
# custom: {code: grant.suspended, clause: 国办发〔2021〕52号 四(九)}
hurdles[c][g] contains [6, "grant.suspended"] if {
	some c, check in input.checks
	some g, held in check.grants
	held.status == "suspended"
}

# METADATA
# title: A conduit that the grant does not name
# custom: {code: channel.not_allowed, clause: 财办会〔2025〕32号 三(一)}
hurdles[c][g] contains [7, "channel.not_allowed"] if {
	some c, check in input.checks
	some conduit in check.via
	some g, held in check.grants
	not conduit in held.via
}

# METADATA
# title: A processor that the grant does not name
# custom: {code: channel.not_allowed, clause: 发改办财金〔2022〕299号 四}
hurdles[c][g] contains [7, "channel.not_allowed"] if {
	some c, check in input.checks
	check.processor != null
	some g, held in check.grants
	not held.processor == check.processor
}

# METADATA
# title: Older data than was granted
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件}
hurdles[c][g] contains [8, "grant.range_exceeded"] if {
	some c, check in input.checks
	some g, held in check.grants
	held.data_from != null
	some day in [check.data_from, check.data_to]
	day != null
	day < held.data_from
}

# METADATA
# title: Older data than the purpose may look back to
# custom: {code: grant.range_exceeded, clause: 国办发〔2021〕52号 附件}
hurdles[c][g] contains [8, "grant.range_exceeded"] if {
	some c, check in input.checks
	check.data_from != null
	some g, held in check.grants
	years := matrix[check.purpose][held.item].look_back_years
	check.data_from < earliest(check.today, years)
}

# METADATA
# title: Used as often as was granted
# custom: {code: grant.frequency_exceeded, clause: 国办发〔2024〕15号 三(五)}
hurdles[c][g] contains [9, "grant.frequency_exceeded"] if {
	some c, check in input.checks
	some g, held in check.grants
	held.frequency != null
	not held.used < held.frequency.max
}

# METADATA
# title: Grants for the item by the one who can consent to it
candidates[c][i] contains g if {
	some c, asked in asks
	some i, ask in asked
	not bars[c][i]
	free_fields.insufficient[c][i]
	some g, held in input.checks[c].grants
	held.item == ask.item
	consented(ask.consent_subject, held.by)
}

# METADATA
# title: The grant that covers each item
cover[c][i] := best[3] if {
	some c, items in candidates
	some i, held in items
	wanted := free_fields.insufficient[c][i]
	best := min({[missing, grant.grant_id, grant.identifier, g] |
		some g in held
		not hurdles[c][g]
		grant := input.checks[c].grants[g]
		gives := wanted & {field | field := grant.fields[_]}
		count(gives) > 0
		missing := count(wanted) - count(gives)
	})
}

# METADATA
# title: The name of the covering grant
source[c][i] := named if {
	some c, items in cover
	some i, g in items
	grant := input.checks[c].grants[g]
	named := {"grant_id": grant.grant_id, "identifier": grant.identifier}
}

# METADATA
# title: Without the person's own consent
# custom: {code: item.person_consent_required, clause: 国办发〔2024〕15号 附件, 五(十一)}
reasons[c][i] := "item.person_consent_required" if {
	some c, items in free_fields.insufficient
	some i, _ in items
	not candidates[c][i]
	asks[c][i].consent_subject == "person"
}

# METADATA
# title: Without any grant to this institution
# description: Another institution's grant, an enterprise that never registered and no grant at all answer alike.
# custom: {code: item.not_granted, clause: 国办发〔2021〕52号 二(六), 四(九); 银税合作 4.5.4}
reasons[c][i] := "item.not_granted" if {
	some c, items in free_fields.insufficient
	some i, _ in items
	not candidates[c][i]
	asks[c][i].consent_subject != "person"
}

# METADATA
# title: With grants, none of which passes all hurdles
reasons[c][i] := furthest[3] if {
	some c, items in candidates
	some i, held in items
	not cover[c][i]
	furthest := min({[0 - hurdle[0], grant.grant_id, grant.identifier, hurdle[1]] |
		some g in held
		grant := input.checks[c].grants[g]
		hurdle := min(object.get(hurdles, [c, g], {[10, "field.not_granted"]}))
	})
}

consented("enterprise", "enterprise")

consented("person", "person")

consented("enterprise_or_person", by) if by in {"enterprise", "person"}

covers_verification("query", "verify")

same_purpose(check, held) if {
	held.purpose == check.purpose
	held.product == null
}

same_purpose(check, held) if {
	held.purpose == check.purpose
	check.product in {null, held.product}
	product := check.institution.products[held.product]
	check.purpose in product.purposes
	profiled(product, held.item)
}

profiled(product, _) if product.items == null

profiled(product, code) if code in product.items

standing(held) if {
	held.status in {"active", "suspended"}
	held.item_status == "active"
}

lasting(check, held) if {
	is_number(held.valid_until)
	check.now < held.valid_until
}

earliest(today, years) := sprintf("%d%s", [to_number(substring(today, 0, 4)) - years, substring(today, 4, -1)])
