# METADATA
# title: What the receiver must do
package consent.obligations_due

import data.consent.band_edges
import data.consent.bands
import data.consent.catalogue
import data.consent.field_answers
import data.consent.lists
import data.consent.mask_methods
import data.consent.masks
import data.consent.settings

# METADATA
# title: How the fields of one answer are handled, in the order of the codes
# description: Masks come method by method, bands by their edges, so that whoever serves the data knows how.
handled(asked, ask, _, _) := [] if plain(asked, ask)

handled(asked, ask, code, fields) := [duty |
	[word, way] := ways[_]
	concerned := affected(word, way, asked, ask, code, fields)
	count(concerned) > 0
	duty := {"code": word, "fields": concerned, "value": way}
] if {
	not plain(asked, ask)
}

# METADATA
# title: All duties with their ways
ways := array.concat(
	array.concat([["aggregate", null]], [["band", edges] | edges := band_edges[_]]),
	array.concat([["do_not_store", null]], array.concat([["mask", way] | way := mask_methods[_]], [["match_only", null]])),
)

# Detail to the institution itself, of an item without bands, obliges to nothing but keeping it no longer than needed: an explicit
# grant means the original detail (发改办财金〔2022〕299号 三).
plain(asked, ask) if {
	not asked.more.processor
	asked.action in {"query", "push", "report", "collect"}
	ask.shares == "detail"
	ask.banded == []
}

# METADATA
# title: A model's output is an aggregate
# custom: {clause: 国办发〔2021〕52号 二(六)}
affected("aggregate", _, asked, _, _, fields) := fields if asked.action == "model"

# METADATA
# title: Figures that the list gives in bands stay in bands
# custom: {clause: 国办发〔2021〕52号 附件 5}
affected("band", way, _, ask, _, fields) := [f |
	f := lists.meet(fields, ask.banded)[_]
	bands[f] == way
]

# METADATA
# title: A model's input is not kept
# custom: {clause: 国办发〔2024〕15号 四(七)}
affected("do_not_store", _, asked, _, _, fields) := fields if asked.action == "model"

# METADATA
# title: A third party that works for the bank sees sensitive fields masked, even with a grant
# custom: {clause: 发改办财金〔2022〕299号 四}
affected("mask", way, asked, _, code, fields) := [f |
	f := fields[_]
	catalogue.items[code].fields[f].class in settings.masked_classes
	masks[f] == way
] if {
	asked.more.processor
}

# METADATA
# title: Answers of a verification are match or no match
# custom: {clause: 国办发〔2021〕52号 注2}
affected("match_only", _, asked, ask, _, fields) := fields if field_answers.answered_as[asked.action][ask.shares] == "verify_only"
