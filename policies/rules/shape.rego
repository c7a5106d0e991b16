# METADATA
# title: Fields of items, sorted once for all cases of the input
# description: |
#   Which fields of an item are a third party's, which are numbers of identity documents, which each purpose needs: sets
#   that depend on no case, built once for the items and purposes that the input names.
package consent.field_sets

import data.consent.cases_judged.cases
import data.consent.catalogue
import data.consent.matrix
import data.consent.settings

# METADATA
# title: Items that the input names
asked := {code | code := cases[_].items[_].item} | {code | code := cases[_].item}

# METADATA
# title: Every field of an item
# description: An item that does not exist, cannot be selected or is never provided outward has no entry.
fields[code] := all if {
	some code in asked
	item := catalogue.items[code]
	item.selectable == true
	item.provision in {"open", "open_except_fields", "grant", "verify"}
	all := {field | item.fields[field]}
}

# METADATA
# title: Fields about others than the subject
# description: |
#   The enterprise cannot consent for them. Two exceptions, both data: the field is officially published, and a row that itself
#   puts the field under her authorization (股权出质登记信息).
third_party[code] := others if {
	some code, _ in fields
	others := {field |
		described := catalogue.items[code].fields[field]
		described.about == "third_party"
		not published(described)
		not settings.third_party_under_grant[field]
	}
}

# METADATA
# title: Numbers and types of identity documents
identity[code] := documents if {
	some code, _ in fields
	documents := {field | catalogue.items[code].fields[field].class == "identity_document"}
}

# METADATA
# title: Fields that a processor may only see masked
sensitive[code] := fields_masked if {
	some code, _ in fields
	fields_masked := {field | catalogue.items[code].fields[field].class in settings.masked_classes}
}

# METADATA
# title: Fields of persons, which no model may read without their consent
personal[code] := fields_personal if {
	some code, _ in fields
	fields_personal := {field | catalogue.items[code].fields[field].class in {"personal", "identity_document"}}
}

# METADATA
# title: Fields that each purpose needs, by item
needed[purpose] := rows if {
	some purpose in {purpose | purpose := cases[_].purpose}
	rows := {code: needs |
		some code, _ in fields
		needs := {field | field := matrix[purpose][code].fields[_]}
	}
}

published(described) if {
	settings.third_party_published
	described.class == "public"
}
