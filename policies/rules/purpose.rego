# METADATA
# title: Why a case is refused as a whole
# description: |
#   Who asks and what for is judged before any item is looked at; a refused case learns nothing about items or grants.
#   This file: financing purposes only. 获取的信息不得用于为企业提供融资支持以外的活动. The list of purposes is closed; a purpose must be declared by the institution and,
#   where a product is named, for that product. A purpose that depends on a loan is closed outside the loan's phases.
package consent.case_refusals

import data.consent.cases_judged.cases
import data.consent.purposes

# METADATA
# title: A word that is no purpose of the list
# custom: {code: purpose.unknown, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "purpose.unknown" if {
	some c in unsound
	case := cases[c]
	not purposes.financing[case.purpose]
	not purposes.not_financing[case.purpose]
}

# METADATA
# title: A purpose that is known and is not financing
# custom: {code: purpose.not_financing, clause: 国办发〔2021〕52号 四(十); 发改办财金〔2022〕299号 四}
refusals[c] contains "purpose.not_financing" if {
	some c in unsound
	case := cases[c]
	purposes.not_financing[case.purpose]
}

# METADATA
# title: The institution did not declare this purpose
# custom: {code: purpose.not_declared, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "purpose.not_declared" if {
	some c in unsound
	case := cases[c]
	purposes.financing[case.purpose]
	case.institution.id
	not purpose_declared(case)
}

# METADATA
# title: The product is not declared for this purpose
# custom: {code: purpose.not_declared, clause: 国办发〔2021〕52号 四(十)}
refusals[c] contains "purpose.not_declared" if {
	some c in unsound
	case := cases[c]
	purposes.financing[case.purpose]
	case.institution.products[case.product]
	not product_declared(case)
}

# METADATA
# title: The purpose needs a loan in a phase that this one is not in
# custom: {code: purpose.phase_closed, clause: 国办发〔2021〕52号 三(八); 国办发〔2024〕15号 四(六); 银税合作 4.6}
refusals[c] contains "purpose.phase_closed" if {
	some c in unsound
	check := input.checks[c]
	purposes.financing[check.purpose]
	not phase_open(check)
}

# METADATA
# title: Modelling gives no detail
# custom: {code: mode.model_only, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七)}
refusals[c] contains "mode.model_only" if {
	some c in unsound
	check := input.checks[c]
	purposes.financing[check.purpose]
	not modelling_only(check)
}
