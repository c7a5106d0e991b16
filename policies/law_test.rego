package consent.field_sets

# What the data of the tree does not reach, because it is right: a table that differs from the law, switches that are off, rows that do
# not exist. Each is made here, and the rules must notice.

test_the_table_of_the_tree_is_lawful if {
	faults == set()
}

test_an_item_that_was_classed_otherwise_is_found if {
	wrong := object.union(data.consent.catalogue.items, {"N21-03-04": object.union(data.consent.catalogue.items["N21-03-04"], {"open": true})})
	["N21-03-04"] in faults with data.consent.catalogue.items as wrong
}

test_a_row_that_was_joined_otherwise_is_found if {
	row_now := data.consent.table.pre_loan["N21-03-04"]
	other := object.union(row_now, {"free": ["N21-03-04.01"]})
	wrong := object.union(data.consent.table, {"pre_loan": object.union(data.consent.table.pre_loan, {"N21-03-04": other})})
	faults == {["pre_loan", "N21-03-04"]} with data.consent.table as wrong
}

test_a_row_that_is_missing_is_found if {
	wrong := object.union(object.remove(data.consent.table, ["pre_loan"]), {"pre_loan": object.remove(data.consent.table.pre_loan, ["N21-03-04"])})
	faults == {["pre_loan", "N21-03-04"]} with data.consent.table as wrong
}

test_a_row_that_no_purpose_needs_is_found if {
	more := object.union(data.consent.table.screening, {"N21-03-04": data.consent.table.pre_loan["N21-03-04"]})
	wrong := object.union(data.consent.table, {"screening": more})
	faults == {["screening", "N21-03-04"]} with data.consent.table as wrong
}

# A purpose may name an item that never leaves, or nothing but a third party's fields: then there is no row, and that is right.
test_no_row_is_right_for_what_may_not_leave if {
	entry := object.union(data.consent.matrix.pre_loan["N21-03-04"], {"fields": ["NB-05.01"]})
	needs := object.union(data.consent.matrix, {"pre_loan": object.union(data.consent.matrix.pre_loan, {"NB-05": entry})})
	faults == set() with data.consent.matrix as needs
}

test_no_row_is_right_where_nothing_may_be_given if {
	entry := object.union(data.consent.matrix.pre_loan["N24-02-01"], {"fields": ["N24-02-01.04"]})
	needs := object.union(data.consent.matrix, {"pre_loan": object.union(data.consent.matrix.pre_loan, {"N24-02-01": entry})})
	rows_left := object.union(object.remove(data.consent.table, ["pre_loan"]), {"pre_loan": object.remove(data.consent.table.pre_loan, ["N24-02-01"])})
	faults == set() with data.consent.matrix as needs with data.consent.table as rows_left
}

# The switches, to the other side.
test_what_is_published_about_others_can_be_kept_back if {
	third_party("N24-02-01") == {"N24-02-01.04"}
	third_party("N24-02-01") == {"N24-02-01.03", "N24-02-01.04"} with data.consent.settings.third_party_published as false
}

test_a_pledgee_stands_under_the_grant_by_a_switch if {
	third_party("N21-01-07") == {"N21-01-07.05"}
	third_party("N21-01-07") == {"N21-01-07.05", "N21-01-07.08"} with data.consent.settings.third_party_under_grant as {}
}

test_interface_rows_are_open_by_a_switch if {
	open("N21-01-09") == true
	open("N21-01-09") == false with data.consent.settings.interface_rows_need_grant as true
	open("N21-01-01") == true with data.consent.settings.interface_rows_need_grant as true
}

# An item is verified by its mode or by the way it is provided; in the lists of the tree both say so.
test_either_word_makes_an_item_verified if {
	verified := data.consent.catalogue.items["N21-05-01"]
	by_mode := object.union(data.consent.catalogue.items, {"N21-05-01": object.union(verified, {"provision": "grant"})})
	by_provision := object.union(data.consent.catalogue.items, {"N21-05-01": object.union(verified, {"mode": "interface"})})
	shares("N21-05-01") == "match" with data.consent.catalogue.items as by_mode
	shares("N21-05-01") == "match" with data.consent.catalogue.items as by_provision
	shares("N21-03-04") == "detail"
}

# Looking back from the 29th of February.
test_every_day_looks_back_to_a_day_that_exists if {
	data.consent.grants_held.earliest("2028-02-29", 3) == "2025-03-01"
	data.consent.grants_held.earliest("2028-02-29", 4) == "2024-02-29"
	data.consent.grants_held.earliest("2104-02-29", 4) == "2100-03-01"
	data.consent.grants_held.earliest("2404-02-29", 4) == "2400-02-29"
	data.consent.grants_held.earliest("2028-02-28", 3) == "2025-02-28"
}

# No item of the lists holds nothing but documents; a regional one may.
test_an_item_of_nothing_but_documents_must_be_named if {
	documents := ["N21-10-01.05", "N21-10-01.06"]
	needs := {"pre_loan": {"N21-10-01": object.union(data.consent.matrix.pre_loan["N21-10-01"], {"fields": documents})}}
	given := {"pre_loan": {"N21-10-01": object.union(data.consent.table.pre_loan["N21-10-01"], {"givable": documents})}}
	wish := {"item": "N21-10-01", "purpose": "pre_loan", "fields": null}
	found := data.consent.request.faults with input as {"questions": [wish]}
		with data.consent.matrix as needs
		with data.consent.table as given
	"field.identity_document" in found[0]
	kept := data.consent.request.faults with input as {"questions": [wish]}
	not "field.identity_document" in object.get(kept, 0, set())
}
