# The caller.
#
# A data platform asks before it serves. It has a standing of its own, and it shows the ticket of the institution's permit or
# is recorded as attested by itself alone. A ticket allows what it names and never more.
package consent.case_refusals

import data.consent.cases_judged.cases
import data.consent.settings

# METADATA
# title: The platform is not registered, not assessed or has no agreement
# custom: {code: platform.not_assessed, clause: 发改办财金〔2022〕299号 四; 国办发〔2024〕15号 二(三)}
refusals[c] contains "platform.not_assessed" if {
	some c in unsound
	check := input.checks[c]
	check.caller.kind == "platform"
	not platform_stopped(check)
	not platform_admitted(check)
}

# METADATA
# title: The platform is ordered to rectify, suspended or cancelled
# custom: {code: platform.suspended, clause: 发改办财金〔2022〕299号 四}
refusals[c] contains "platform.suspended" if {
	some c in unsound
	check := input.checks[c]
	check.caller.kind == "platform"
	platform_stopped(check)
}

# METADATA
# title: The caller is neither an institution nor a kind that provides data
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一)}
refusals[c] contains "channel.not_allowed" if {
	some c in unsound
	check := input.checks[c]
	not providing(check)
}

# METADATA
# title: The ticket is spent, expired, foreign or for something else
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "ticket.invalid" if {
	some c in unsound
	check := input.checks[c]
	not unspent(check)
}

# METADATA
# title: An action outside the list, or collecting by one who does not gather data
# custom: {code: action.not_granted, clause: 财办会〔2025〕32号 三(一)}
refusals[c] contains "action.not_granted" if {
	some c in unsound
	case := cases[c]
	not acting(case)
}

platform_stopped(check) if check.platform.status in {"rectifying", "suspended", "cancelled"}

platform_admitted(check) if {
	check.platform.status == "active"
	platform_assessed(check)
}

providing(check) if check.caller.kind == "institution"

providing(check) if {
	check.caller.kind == "platform"
	check.platform.kind in settings.providing_kinds
}

# An unregistered platform is told that it has no standing, not that its channel is wrong.
providing(check) if {
	check.caller.kind == "platform"
	check.platform == null
}
