# METADATA
# title: Fields of items for purposes
# description: |
#   Which fields of an item a purpose needs, which are a third party's or numbers of identity documents, and which are shared
#   openly: sets that depend on no case, so that an engine builds them once for each purpose and item that the input names.
package consent.field_sets

import data.consent.cases_judged.cases
import data.consent.catalogue
import data.consent.matrix
import data.consent.settings

# METADATA
# title: Purposes and items that the input names together
pairs := {[case.purpose, code] | case := cases[_]; code := case.items[_].item} | {[case.purpose, case.item] | case := cases[_]}

# METADATA
# title: What a purpose may have of an item
# description: |
#   every_field   all fields of the item
#   needed        those that the matrix lists for the purpose; none where it has no row
#   third_party   fields about others, for whom the enterprise cannot consent
#   identity      numbers and types of identity documents
#   givable       needed and no third party's
#   free          givable without a grant
#   banded        givable in bands only
#   An item that does not exist, cannot be selected or is never provided outward has no entry.
sets[purpose][code] := entry if {
	some pair in pairs
	purpose := pair[0]
	code := pair[1]
	row := catalogue.items[code]
	row.selectable == true
	row.provision in {"open", "open_except_fields", "grant", "verify"}
	every_field := object.keys(row.fields)
	needed := {f | f := matrix[purpose][code].fields[_]}
	identity := {f | row.fields[f].class == "identity_document"}
	others := {f | row.fields[f].about == "third_party"; not published(row.fields[f]); not settings.third_party_under_grant[f]}
	givable := (needed & every_field) - others
	entry := {
		"every_field": every_field,
		"needed": needed,
		"third_party": others,
		"identity": identity,
		"givable": givable,
		"free": {f | some f in (givable - identity); row.provision in {"open", "open_except_fields"}},
		"banded": {f | some f in givable; settings.banded[f]},
		"provision": row.provision,
		"verification": verification(row),
		"consent_subject": row.consent_subject,
	}
}

# METADATA
# title: The same as one document
table := sets

# METADATA
# title: What stands for an item without entry
nothing := {
	"every_field": set(),
	"needed": set(),
	"third_party": set(),
	"identity": set(),
	"givable": set(),
	"free": set(),
	"banded": set(),
	"provision": "none",
	"verification": false,
	"consent_subject": "enterprise",
}

# METADATA
# title: Fields that a processor may only see masked
sensitive(fields, code) := {f | some f in fields; catalogue.items[code].fields[f].class in settings.masked_classes}

# METADATA
# title: Fields of persons, which no model may read without their consent
personal(fields, code) := {f | some f in fields; catalogue.items[code].fields[f].class in {"personal", "identity_document"}}

published(described) if {
	settings.third_party_published == true
	described.class == "public"
}

verification(row) if {
	row.mode == "verification"
} else if {
	row.provision == "verify"
} else := false
