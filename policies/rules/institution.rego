# Standing of the institution.
#
# An institution gets nothing, not even open items, while it is unknown, not assessed, without agreement, ordered to rectify,
# suspended or cancelled, or asks from another terminal than the registered one.
package consent.case_refusals

import data.consent.standing

# METADATA
# title: The institution is not registered
# custom: {code: institution.unknown, clause: 国办发〔2021〕52号 二(五), zh: 机构未登记}
refusals[q] contains "institution.unknown" if {
	some q in unsound
	not registered(input.questions[q])
}

# METADATA
# title: No security assessment that is valid now
# custom: {code: institution.not_assessed, clause: 国办发〔2021〕52号 四(十); 发改办财金〔2022〕299号 四, zh: 没有当前有效的安全评估}
refusals[q] contains "institution.not_assessed" if {
	some q in unsound
	party := input.parties[input.questions[q].institution]
	not standing.assessed(party)
}

# METADATA
# title: Applied for, not yet admitted
# custom: {code: institution.not_assessed, clause: 发改办财金〔2022〕299号 四, zh: 已申请接入，尚未准入}
refusals[q] contains "institution.not_assessed" if {
	some q in unsound
	party := input.parties[input.questions[q].institution]
	not told_apart(party)
}

# METADATA
# title: Ordered to rectify, suspended or cancelled
# custom: {code: institution.rectifying institution.suspended institution.cancelled, clause: 发改办财金〔2022〕299号 四, zh: 机构在整改、已暂停或已取消接入}
refusals[q] contains code if {
	some q in unsound
	status := input.parties[input.questions[q].institution].status
	status in {"rectifying", "suspended", "cancelled"}
	code := concat(".", ["institution", status])
}

# METADATA
# title: The terms on information management were not accepted
# custom: {code: institution.no_agreement, clause: 国办发〔2021〕52号 四(十), zh: 未接受信息管理要求}
refusals[q] contains "institution.no_agreement" if {
	some q in unsound
	party := input.parties[input.questions[q].institution]
	not agreed(party)
}

# METADATA
# title: The terminal or address is not the registered one
# custom: {code: institution.terminal_mismatch, clause: 银税合作 5.5.3.2 b, zh: 终端编号或网络地址与登记不符}
refusals[q] contains "institution.terminal_mismatch" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	not in_place(asked)
}

# METADATA
# title: The product is not registered for the institution
# custom: {code: institution.product_not_declared, clause: 国办发〔2021〕52号 四(十); 银税合作 4.4.1, zh: 产品未登记}
refusals[q] contains "institution.product_not_declared" if {
	some q in unsound
	asked := input.questions[q]
	registered(asked)
	not product_known(asked)
}

told_apart(party) if party.status in {"active", "rectifying", "suspended", "cancelled"}

agreed(party) if party.agreement == true

in_place(asked) if known_terminal(asked.way[2])

product_known(asked) if asked.product == null

product_known(asked) if asked.offers[asked.product]

registered(asked) if input.parties[asked.institution].id
