# METADATA
# title: Why a question is refused as a whole
# description: |
#   Who asks and what for is judged before any item is looked at; what is refused so learns nothing about items or grants.
#   This file: financing purposes only. 获取的信息不得用于为企业提供融资支持以外的活动. The list of purposes is closed; a purpose must be declared by the institution and,
#   where a product is named, for that product. A purpose that depends on a loan is closed outside the loan's phases.
package consent.case_refusals

import data.consent.purposes

# METADATA
# title: A word that is no purpose of the list
# custom: {code: purpose.unknown, clause: 国办发〔2021〕52号 四(十), zh: 用途不在清单内}
refusals[q] contains "purpose.unknown" if {
	some q in unsound
	asked := input.questions[q]
	not purposes.financing[asked.purpose]
	not purposes.not_financing[asked.purpose]
}

# METADATA
# title: A purpose that is known and is not financing
# custom: {code: purpose.not_financing, clause: 国办发〔2021〕52号 四(十); 发改办财金〔2022〕299号 四, zh: 用途已知，但不属融资支持}
refusals[q] contains "purpose.not_financing" if {
	some q in unsound
	purposes.not_financing[input.questions[q].purpose]
}

# METADATA
# title: The institution did not declare this purpose
# custom: {code: purpose.not_declared, clause: 国办发〔2021〕52号 四(十), zh: 机构未申报该用途}
refusals[q] contains "purpose.not_declared" if {
	some q in unsound
	asked := input.questions[q]
	purposes.financing[asked.purpose]
	party := input.parties[asked.institution]
	not purpose_declared(asked.purpose, party)
}

# METADATA
# title: The product is not declared for this purpose
# custom: {code: purpose.not_declared, clause: 国办发〔2021〕52号 四(十), zh: 产品未申报该用途}
refusals[q] contains "purpose.not_declared" if {
	some q in unsound
	asked := input.questions[q]
	purposes.financing[asked.purpose]
	asked.offers[asked.product]
	not product_declared(asked)
}

# METADATA
# title: The purpose needs a loan in a phase that this one is not in
# custom: {code: purpose.phase_closed, clause: 国办发〔2021〕52号 三(八); 国办发〔2024〕15号 四(六); 银税合作 4.6, zh: 贷款不在该用途开放的阶段}
refusals[q] contains "purpose.phase_closed" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	purposes.financing[asked.purpose]
	not phase_open(asked)
}

# METADATA
# title: Modelling gives no detail
# custom: {code: mode.model_only, clause: 国办发〔2021〕52号 二(六); 国办发〔2024〕15号 四(七), zh: 联合建模只出结果，不出明细}
refusals[q] contains "mode.model_only" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	purposes.financing[asked.purpose]
	not modelling_only(asked)
}

purpose_declared(purpose, party) if purpose in party.purposes
