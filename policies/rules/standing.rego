# METADATA
# title: Parties in good standing
# description: |
#   Admitted, with the terms on information management accepted, and with a security assessment that is valid now. Institutions,
#   the platforms that serve them and the conduits in between are held to the same. Standing is computed from the facts of this
#   moment, so grants that exist are of no use while it is lost.
# custom: {clause: 国办发〔2021〕52号 四(十); 发改办财金〔2022〕299号 四}
package consent.standing

good := {p |
	party := input.parties[p]
	is_string(party.id)
	party.status == "active"
	party.agreement == true
	assessed(party)
}

assessed(party) if {
	is_number(party.assessed_from)
	is_number(party.assessed_until)
	party.assessed_from <= input.now
	input.now < party.assessed_until
}
