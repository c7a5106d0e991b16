# Cases that are not refused as a whole.
#
# Deny by default: a case is sound only if every condition about who asks and what for holds. The other rules of this package say for
# every other case which condition does not; they explain and can permit nothing. A test holds both to the same cases.
package consent.case_refusals

import data.consent.cases_judged.cases
import data.consent.purposes

# METADATA
# title: Cases of an institution in good standing, for a purpose and product that it declared
entitled contains c if {
	some c, case in cases
	case.institution.id
	case.institution.status == "active"
	case.institution.agreement == true
	assessed(case)
	purposes.financing[case.purpose]
	purpose_declared(case)
	product_declared(case)
	acting(case)
	known_terminal(case)
}

# METADATA
# title: Sound checks
# description: An entitled check whose caller, ticket, loan and mode allow it.
sound contains c if {
	some c, check in input.checks
	entitled[c]
	callable(check)
	unspent(check)
	phase_open(check)
	modelling_only(check)
}

# METADATA
# title: Cases whose refusal is to be explained
unsound contains c if {
	some c, _ in cases
	not entitled[c]
}

unsound contains c if {
	some c, _ in input.checks
	not sound[c]
}

purpose_declared(case) if case.purpose in case.institution.purposes

product_declared(case) if case.product == null

product_declared(case) if case.purpose in case.institution.products[case.product].purposes

acting(case) if case.action in {"query", "verify", "push", "report", "model"}

acting(case) if {
	case.action == "collect"
	case.institution.kind in data.consent.settings.collecting_kinds
}

callable(check) if check.caller.kind == "institution"

callable(check) if {
	check.caller.kind == "platform"
	check.platform.kind in data.consent.settings.providing_kinds
	check.platform.status == "active"
	platform_assessed(check)
}

platform_assessed(check) if {
	check.platform.agreement == true
	is_number(check.platform.assessed_from)
	check.platform.assessed_from <= check.now
	check.now < check.platform.assessed_until
}

unspent(check) if {
	check.ticket == null
	check.caller.attested != "ticket"
}

unspent(check) if check.ticket.valid == true

phase_open(check) if {
	check.loan == null
	purposes.financing[check.purpose].loan_required == false
}

phase_open(check) if {
	check.loan.phase in purposes.financing[check.purpose].phases
	same_product(check)
}

same_product(check) if check.product == null

same_product(check) if check.loan.product in {null, check.product}

modelling_only(check) if check.purpose != "modelling"

modelling_only(check) if check.action == "model"
