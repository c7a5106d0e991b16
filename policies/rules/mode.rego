# METADATA
# title: Modes of sharing
package consent.sharing_modes

import data.consent.asked_items.asks

# METADATA
# title: Asks whose answer is at most match or no match
# description: The caller wants a verification, or the lists share the item in no other way.
# custom: {clause: 国办发〔2021〕52号 注2; 发改办财金〔2022〕299号 三}
verifying[c][i] if {
	some c, asked in asks
	input.checks[c].action == "verify"
	some i, _ in asked
}

verifying[c][i] if {
	some c, asked in asks
	input.checks[c].action != "model"
	some i, ask in asked
	ask.verification == true
}
