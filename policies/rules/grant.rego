# METADATA
# title: What was granted
# description: |
#   One grant covers an item, never a union. Of the grants that pass every condition, the one that gives most of what is asked wins,
#   then the lowest grant_id, then the lowest identifier: the order in which the input has them. Numbers that are compared here have
#   the same count of digits, because rego-cpp orders numbers as text.
package consent.grants_held

import data.consent.asked_items
import data.consent.field_answers
import data.consent.item_bars
import data.consent.lists
import data.consent.table

# METADATA
# title: Granted actions that cover an action
# description: A query grant covers verification of the same fields.
covered_by := {
	"query": ["query"],
	"verify": ["query", "verify"],
	"push": ["push"],
	"report": ["report"],
	"model": ["model"],
	"collect": ["collect"],
}

# METADATA
# title: Who can grant an item, by whose consent it needs
grantors := {
	"enterprise": {"enterprise"},
	"person": {"person"},
	"enterprise_or_person": {"enterprise", "person"},
}

# METADATA
# title: What a grant must say to serve a question
# description: |
#   As [status, item_status, action, purpose, product]: active, for an action that covers the asked one, for this purpose and product, or
#   for no product in particular. Deny by default; the hurdles (hurdle.rego) say of every other grant what it lacks.
accepted := {q: heads |
	asked := input.questions[q]
	heads := {["active", "active", action, asked.purpose, name] |
		asked.verified == true
		action := covered_by[asked.action][_]
		name := meant(asked)[_]
	}
}

# A check that names no product is judged under the product of the grant, with that product's profile.
meant(asked) := [null, asked.product] if asked.product != null

meant(asked) := array.concat([null], [name |
	offer := asked.offers[name]
	asked.purpose in offer.purposes
]) if {
	asked.product == null
}

# METADATA
# title: What the terms of grants give to a question
# description: |
#   By question and terms, the answer for the item, as far as the grant lasts; and by item, what needs no grant. Whether a grant lasts is
#   a matter of the single check.
yields := {q: deeds |
	input.questions[q]
	deeds := object.union_n([object.get(whole, q, {}), parted[q], field_answers.bare[q]])
}

# METADATA
# title: Whole items, asked for and granted as a whole
# description: |
#   An explicit grant means the original detail. Such an answer is the row's own: all that is givable, nothing withheld, no duty but to
#   keep it no longer than the purpose allows. `lacks` is by how many fields it falls short of what is wanted, from 1000.
# custom: {clause: 发改办财金〔2022〕299号 三}
whole := {q: given |
	codes := asked_items.undivided[q]
	asked := input.questions[q]
	given := {t: deed |
		asked.product != null
		some code in codes
		t := asked.terms[code][_]
		input.terms[t].fields == null
		accepted[q][input.terms[t].head]
		grantors[table[asked.purpose][code].consent_subject][input.terms[t].by]
		not input.terms[t].retention_days
		deed := {
			"lacks": 1000,
			"full": true,
			"outcome": "permit",
			"basis": grantor_basis[input.terms[t].by],
			"retain_days": table[asked.purpose][code].retention_days,
		}
	}
}

# METADATA
# title: What other grants give
parted := {q: given |
	asked := input.questions[q]
	given := {t: deed |
		some code in asked.items
		t := asked.terms[code][_]
		not whole[q][t]
		ask := item_bars.fit[q][code]
		term := input.terms[t]
		accepted[q][term.head]
		grantors[ask.consent_subject][term.by]
		within(asked, ask, term)
		gives := granted_fields(ask.wanted, term.fields)
		gives != []
		deed := object.union(field_answers.answer(asked, code, ask, field_answers.together(ask.free, gives)), {
			"lacks": (1000 + count(ask.wanted)) - count(gives),
			"basis": grantor_basis[term.by],
			"retain_days": shorter(ask.retention_days, term),
		})
	}
}

granted_fields(wanted, null) := wanted

granted_fields(wanted, fields) := lists.meet(wanted, fields) if fields != null

# METADATA
# title: What a grant gave is kept no longer than granted and needed
# custom: {clause: 发改办财金〔2022〕299号 四}
shorter(most, term) := most if not term.retention_days

shorter(most, term) := most if most <= term.retention_days

shorter(most, term) := term.retention_days if term.retention_days < most

grantor_basis := {"enterprise": "grant", "person": "person"}

# METADATA
# title: What only some questions and grants name
# description: Conduits, processors, ranges of days, and a product that the grant names and the question does not.
within(asked, ask, term) if {
	in_profile(asked, term)
	through(asked, term)
	processed(asked, term)
	in_range(asked, term, ask.look_back_years)
}

in_profile(_, term) if term.head[4] == null

# The product's profile was judged with the question.
in_profile(asked, term) if {
	term.head[4] != null
	asked.product == term.head[4]
}

in_profile(asked, term) if {
	term.head[4] != null
	asked.product == null
	item_bars.in_profile(asked.offers[term.head[4]], term.item)
}

through(asked, _) if not asked.more.via

through(asked, term) if lists.less(asked.more.via, term.via) == []

processed(asked, _) if not asked.more.processor

processed(asked, term) if term.processor == asked.more.processor

in_range(asked, _, _) if {
	not asked.more.data_from
	not asked.more.data_to
}

# Both days of the asked period are in what was granted and in what the purpose may look back to.
in_range(asked, term, years) if {
	some end in ["data_from", "data_to"]
	asked.more[end]
	every day in [object.get(asked.more, "data_from", asked.more[end]), object.get(asked.more, "data_to", asked.more[end])] {
		earliest(input.today, years) <= day
		object.get(term, "data_from", "0000-00-00") <= day
	}
}

# METADATA
# title: The first day that may be looked back to
# description: The same day some years before; of a 29th of February, the 1st of March where that year has none.
earliest(today, years) := day if {
	year := to_number(substring(today, 0, 4)) - years
	day := existing(year, substring(today, 4, -1))
}

existing(year, "-02-29") := sprintf("%d-03-01", [year]) if not leap(year)

existing(year, "-02-29") := sprintf("%d-02-29", [year]) if leap(year)

existing(year, rest) := sprintf("%d%s", [year, rest]) if rest != "-02-29"

leap(year) if {
	year % 4 == 0
	year % 100 != 0
}

leap(year) if year % 400 == 0
