# The caller.
#
# A data platform asks before it serves. It has a standing of its own, and it shows the ticket of the institution's permit or
# is recorded as attested by itself alone. A ticket allows what it names and never more.
package consent.case_refusals

import data.consent.settings

# METADATA
# title: The platform is not registered, not assessed or has no agreement
# custom: {code: platform.not_assessed, clause: 发改办财金〔2022〕299号 四; 国办发〔2024〕15号 二(三)}
refusals[c] contains "platform.not_assessed" if {
	some c, check in input.checks
	check.caller.kind == "platform"
	not check.platform.status in {"rectifying", "suspended", "cancelled"}
	not platform_assessed[c]
}

# METADATA
# title: The platform is ordered to rectify, suspended or cancelled
# custom: {code: platform.suspended, clause: 发改办财金〔2022〕299号 四}
refusals[c] contains "platform.suspended" if {
	some c, check in input.checks
	check.caller.kind == "platform"
	check.platform.status in {"rectifying", "suspended", "cancelled"}
}

# METADATA
# title: The caller is neither an institution nor a kind that provides data
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一)}
refusals[c] contains "channel.not_allowed" if {
	some c, check in input.checks
	not providing[c]
}

# METADATA
# title: The ticket is spent, expired, foreign or for something else
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "ticket.invalid" if {
	some c, check in input.checks
	ticketed[c]
	not check.ticket.valid == true
}

# METADATA
# title: Only those who gather data may collect it
# custom: {code: action.not_granted, clause: 财办会〔2025〕32号 三(一)}
refusals[c] contains "action.not_granted" if {
	some c, case in data.consent.cases_judged.cases
	case.action == "collect"
	not case.institution.kind in settings.collecting_kinds
}

# METADATA
# title: An action outside the list
# custom: {code: action.not_granted, clause: 国办发〔2021〕52号 二(五)(六)}
refusals[c] contains "action.not_granted" if {
	some c, case in data.consent.cases_judged.cases
	not case.action in {"query", "verify", "push", "report", "model", "collect"}
}

platform_assessed contains c if {
	some c, check in input.checks
	check.platform.status == "active"
	check.platform.agreement == true
	is_number(check.platform.assessed_from)
	check.platform.assessed_from <= check.now
	check.now < check.platform.assessed_until
}

providing contains c if {
	some c, check in input.checks
	check.caller.kind == "institution"
}

providing contains c if {
	some c, check in input.checks
	check.caller.kind == "platform"
	check.platform.kind in settings.providing_kinds
}

# An unregistered platform is told that it has no standing, not that its channel is wrong.
providing contains c if {
	some c, check in input.checks
	check.caller.kind == "platform"
	check.platform == null
}

ticketed contains c if {
	some c, check in input.checks
	check.caller.attested == "ticket"
}

ticketed contains c if {
	some c, check in input.checks
	check.ticket != null
}
