# Standing of the institution.
#
# An institution gets nothing, not even open items, while it is unknown, not assessed, without agreement, ordered to rectify,
# suspended or cancelled. Standing is computed from the facts of this moment, so grants that exist are of no use meanwhile.
package consent.case_refusals

import data.consent.cases_judged.cases

# METADATA
# title: The institution is not registered
# custom: {code: institution.unknown, clause: 国办发〔2021〕52号 二(五)}
refusals[c] contains "institution.unknown" if {
	some c in unsound
	case := cases[c]
	not case.institution.id
}

# METADATA
# title: No security assessment that is valid now
# custom: {code: institution.not_assessed, clause: 国办发〔2021〕52号 四(十); 发改办财金〔2022〕299号 四}
refusals[c] contains "institution.not_assessed" if {
	some c in unsound
	case := cases[c]
	case.institution.id
	not assessed(case)
}

# METADATA
# title: Applied for, not yet admitted
# custom: {code: institution.not_assessed, clause: 发改办财金〔2022〕299号 四}
refusals[c] contains "institution.not_assessed" if {
	some c in unsound
	case := cases[c]
	case.institution.id
	not told_apart(case)
}

# METADATA
# title: Ordered to rectify, suspended or cancelled
# custom: {code: institution.rectifying institution.suspended institution.cancelled, clause: 发改办财金〔2022〕299号 四}
refusals[c] contains code if {
	some c in unsound
	case := cases[c]
	case.institution.status in {"rectifying", "suspended", "cancelled"}
	code := concat(".", ["institution", case.institution.status])
}

# METADATA
# title: The terms on information management were not accepted
# custom: {code: institution.no_agreement, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "institution.no_agreement" if {
	some c in unsound
	case := cases[c]
	case.institution.id
	not case.institution.agreement == true
}

# METADATA
# title: The terminal or address is not the registered one
# custom: {code: institution.terminal_mismatch, clause: 银税合作 5.5.3.2 b}
refusals[c] contains "institution.terminal_mismatch" if {
	some c in unsound
	case := cases[c]
	not known_terminal(case)
}

# METADATA
# title: The product is not registered for the institution
# custom: {code: institution.product_not_declared, clause: 国办发〔2021〕52号 四(十); 银税合作 4.4.1}
refusals[c] contains "institution.product_not_declared" if {
	some c in unsound
	case := cases[c]
	case.institution.id
	not product_known(case)
}

assessed(case) if {
	is_number(case.institution.assessed_from)
	case.institution.assessed_from <= case.now
	case.now < case.institution.assessed_until
}

known_terminal(case) if case.terminal in {"match", "unregistered"}

told_apart(case) if case.institution.status in {"active", "rectifying", "suspended", "cancelled"}

product_known(case) if case.product == null

product_known(case) if case.institution.products[case.product]
