# METADATA
# title: Fields of items for purposes, the law of the joined data
# description: |
#   What an item is, and what a purpose may have of it, by catalogue, matrix and settings. The server joins both once, at load, into
#   `catalogue.items` and `table` (consent/decisions/table.py), so that no check derives them again. Here stands what they must be; a
#   test of the policies refuses a bundle in which `faults` is not empty.
package consent.field_sets

import data.consent.catalogue
import data.consent.matrix
import data.consent.settings
import data.consent.table

# METADATA
# title: What was joined otherwise than the law says
# description: Items as [item], rows of the table as [purpose, item].
# entrypoint: true
faults contains [code] if {
	some code in object.keys(catalogue.items)
	not classed(code)
}

faults contains [purpose, code] if {
	some purpose in object.keys(matrix)
	some code in object.keys(matrix[purpose])
	not joined(purpose, code)
}

faults contains [purpose, code] if {
	some purpose in object.keys(table)
	some code in object.keys(table[purpose])
	not matrix[purpose][code]
}

classed(code) if {
	item := catalogue.items[code]
	item.outward == outward(code)
	item.open == open(code)
	item.shares == shares(code)
	item.third_party == sort(third_party(code))
	item.identity == sort(of_class(code, {"identity_document"}))
}

joined(purpose, code) if table[purpose][code] == row(code, matrix[purpose][code])

# A purpose has no row of what may not leave, or of which it needs nothing that may be given.
joined(purpose, code) if {
	not table[purpose][code]
	not outward(code) == true
}

joined(purpose, code) if {
	not table[purpose][code]
	givable(code, matrix[purpose][code]) == set()
}

# METADATA
# title: What a purpose may have of an item
# description: |
#   all               all fields of the item
#   requested         what is asked for when no field is named, all
#   givable           needed for the purpose and no third party's
#   remainder         what is not
#   free              givable without a grant
#   wanted            givable with a grant
#   modelled          what a registered joint model may read without a grant
#   banded            givable in bands only
#   open              whether the lists share it openly
#   shares            detail, or match for verification only
#   undivided         whether a grant gives the whole item as it stands, in detail, with nothing free, withheld or in bands
#   consent_subject   by whose consent it goes
row(code, entry) := {
	"all": sort(every_field(code)),
	"requested": sort(every_field(code)),
	"givable": sort(givable(code, entry)),
	"remainder": sort(every_field(code) - givable(code, entry)),
	"free": sort(free(code, entry)),
	"wanted": sort(givable(code, entry) - free(code, entry)),
	"modelled": sort(free(code, entry) | modelled(code, entry)),
	"banded": sort(banded(code, entry)),
	"open": open(code),
	"shares": shares(code),
	"undivided": undivided(code, entry),
	"consent_subject": catalogue.items[code].consent_subject,
	"look_back_years": entry.look_back_years,
	"retention_days": entry.retention_days,
} if {
	outward(code)
	givable(code, entry) != set()
}

every_field(code) := object.keys(catalogue.items[code].fields)

of_class(code, classes) := {f |
	some f in object.keys(catalogue.items[code].fields)
	classes[catalogue.items[code].fields[f].class]
}

# METADATA
# title: Items that may leave at all
outward(code) if {
	catalogue.items[code].selectable == true
	catalogue.items[code].provision in {"open", "open_except_fields", "grant", "verify"}
} else := false

# METADATA
# title: What the purpose needs and may have
# custom: {clause: 发改办财金〔2022〕299号 四}
givable(code, entry) := ({f | some f in entry.fields} & every_field(code)) - third_party(code)

# METADATA
# title: Fields about others, for whom the enterprise cannot consent
# description: |
#   Two switches of settings.json. What is officially published about others goes with its item; and where the official row puts a
#   field about others under the enterprise's authorization, it goes with her grant.
# custom: {clause: 国办发〔2021〕52号 四(九), 附件 1; 国办发〔2024〕15号 五(十一)}
third_party(code) := {f |
	some f in every_field(code)
	catalogue.items[code].fields[f].about == "third_party"
	not published(catalogue.items[code].fields[f].class)
	not settings.third_party_under_grant[f]
}

published("public") if settings.third_party_published == true

# METADATA
# title: What goes without a grant
# description: What the lists share openly, but for numbers and types of identity documents, which go outward only when granted.
# custom: {clause: 国办发〔2021〕52号 附件 10}
free(code, entry) := givable(code, entry) - of_class(code, {"identity_document"}) if open(code) == true

free(code, _) := set() if open(code) == false

# METADATA
# title: What a registered joint model reads without a grant
# description: Commercial data of the enterprise, because no detail leaves the platform; personal data it does not.
# custom: {clause: 国办发〔2021〕52号 二(六)}
modelled(code, entry) := givable(code, entry) - of_class(code, {"personal", "identity_document"}) if {
	open(code) == false
	catalogue.items[code].consent_subject == "enterprise"
} else := set()

banded(code, entry) := {f | some f in givable(code, entry); settings.banded[f]}

# METADATA
# title: What the lists share openly
# description: |
#   The row's own words count. Shared by interface without 经企业授权 is open; a switch of settings.json reads note 2 strictly instead.
# custom: {clause: 国办发〔2021〕52号 附件, 注2}
open(code) if {
	catalogue.items[code].provision in {"open", "open_except_fields"}
	not strictly_granted(code)
} else := false

strictly_granted(code) if {
	settings.interface_rows_need_grant == true
	catalogue.items[code].mode == "interface"
}

# METADATA
# title: What is shared by verification only
# custom: {clause: 国办发〔2021〕52号 注2}
shares(code) := "match" if {
	catalogue.items[code].mode == "verification"
} else := "match" if {
	catalogue.items[code].provision == "verify"
} else := "detail"

undivided(code, entry) if {
	shares(code) == "detail"
	open(code) == false
	banded(code, entry) == set()
	every_field(code) == givable(code, entry)
} else := false
