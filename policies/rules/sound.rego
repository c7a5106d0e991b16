# Questions that are not refused as a whole.
#
# A question is who asks and what for: all of a check but what was granted, or one detail of an authorization request, which is judged by
# the same rules about who asks and what for, so that no request is accepted whose checks would all be refused. Deny by default: it is
# sound only if every condition holds. The other rules of this package say for every other question which condition does not; they explain
# and can permit nothing. A test holds both to the same questions.
package consent.case_refusals

import data.consent.purposes
import data.consent.settings
import data.consent.standing

# METADATA
# title: Questions of an institution in good standing, for a purpose and product that it declared
entitled := {q |
	asked := input.questions[q]
	standing.good[asked.institution]
	party := input.parties[asked.institution]
	purposes.financing[asked.purpose]
	asked.purpose in party.purposes
	product_declared(asked)
	acting(asked.action, party.kind)
}

# METADATA
# title: Ways to ask that need no further condition
# description: An institution for itself, about one enterprise. As [caller, attested, terminal, service].
plain_ways := {
	["institution", "institution", "match", "single"],
	["institution", "institution", "unregistered", "single"],
}

# METADATA
# title: Plain questions
# description: |
#   Sound ones that name nothing besides items, purpose and product, which most do: then there is nothing else to be judged.
plain := {q |
	some q in entitled
	asked := input.questions[q]
	asked.more == {}
	plain_ways[asked.way]
	purposes.financing[asked.purpose].loan_required == false
	detail_actions[asked.action]
	asked.purpose != "modelling"
}

# METADATA
# title: Questions whose caller, ticket, way, loan and mode allow them
allowed := {q |
	some q in entitled
	not plain[q]
	asked := input.questions[q]
	is_object(asked.more)
	known_terminal(asked.way[2])
	callable(asked)
	unspent(asked)
	routed(asked)
	phase_open(asked)
	modelling_only(asked)
}

# METADATA
# title: Sound questions
sound := plain | allowed

detail_actions := {"query", "push", "report"}

# METADATA
# title: Questions whose refusal is to be explained
unsound := {q |
	input.questions[q]
	not sound[q]
}

known_terminal(terminal) if terminal in {"match", "unregistered"}

product_declared(asked) if asked.product == null

product_declared(asked) if asked.purpose in asked.offers[asked.product].purposes

acting(action, _) if action in {"query", "verify", "push", "report", "model"}

acting("collect", kind) if kind in settings.collecting_kinds

callable(asked) if asked.way[0] == "institution"

callable(asked) if {
	asked.way[0] == "platform"
	standing.good[asked.more.platform]
	input.parties[asked.more.platform].kind in settings.providing_kinds
}

unspent(asked) if {
	not asked.more.ticket
	asked.way[1] != "ticket"
}

unspent(asked) if asked.more.ticket.valid == true

phase_open(asked) if {
	not asked.more.loan
	purposes.financing[asked.purpose].loan_required == false
}

phase_open(asked) if {
	asked.more.loan.phase in purposes.financing[asked.purpose].phases
	same_product(asked)
}

same_product(asked) if asked.product == null

same_product(asked) if asked.more.loan.product in {null, asked.product}

modelling_only(asked) if asked.purpose != "modelling"

modelling_only(asked) if asked.action == "model"
