# The caller.
#
# A data platform asks before it serves. It has a standing of its own, and it shows the ticket of the institution's permit or
# is recorded as attested by itself alone. A ticket allows what it names and never more.
package consent.case_refusals

import data.consent.standing

# METADATA
# title: The platform is not registered, not assessed or has no agreement
# custom: {code: platform.not_assessed, clause: 发改办财金〔2022〕299号 四; 国办发〔2024〕15号 二(三), zh: 平台未登记、未通过安全评估或未签协议}
refusals[q] contains "platform.not_assessed" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0] == "platform"
	not platform_stopped(asked)
	not platform_good(asked)
}

# METADATA
# title: The platform is ordered to rectify, suspended or cancelled
# custom: {code: platform.suspended, clause: 发改办财金〔2022〕299号 四, zh: 平台在整改、已暂停或已取消接入}
refusals[q] contains "platform.suspended" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0] == "platform"
	platform_stopped(asked)
}

# METADATA
# title: The ticket is spent, expired, foreign or for something else
# custom: {code: ticket.invalid, clause: 国办发〔2021〕52号 四(十), zh: 凭证已用、过期、不属于该方或用于他事}
refusals[q] contains "ticket.invalid" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	not unspent(asked)
}

# METADATA
# title: An action outside the list, or collecting by one who does not gather data
# custom: {code: action.not_granted, clause: 财办会〔2025〕32号 三(一), zh: 动作不在清单内，或非归集方要求归集}
refusals[q] contains "action.not_granted" if {
	some q in unsound
	asked := input.questions[q]
	not acting(asked.action, kind_of(asked))
}

platform_stopped(asked) if input.parties[asked.more.platform].status in {"rectifying", "suspended", "cancelled"}

platform_good(asked) if standing.good[asked.more.platform]

kind_of(asked) := input.parties[asked.institution].kind

kind_of(asked) := "unknown" if not kind_known(asked)

kind_known(asked) if input.parties[asked.institution].kind
