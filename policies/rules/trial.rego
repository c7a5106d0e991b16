# METADATA
# title: What is judged about one enterprise
# description: |
#   A check is a case at a moment: a case is a question with what the enterprise granted. Equal cases whose grants stand alike get one
#   answer, however many enterprises are behind them.
package consent.trials

import data.consent.field_answers
import data.consent.grants_held

# METADATA
# title: Ends that are not reached
# description: Before the grant's last moment, and used less often than was granted. As [until, used, most].
# custom: {clause: 国办发〔2021〕52号 四(九); 国办发〔2024〕15号 三(五)}
open_ends := {e |
	[until, used, most] := input.ends[e]
	is_number(until)
	input.now < until
	is_number(used)
	is_number(most)
	used < most
}

# METADATA
# title: Ends that are reached, with the hurdle that they are
reached_ends := {e: hurdle |
	[until, _, _] := input.ends[e]
	not open_ends[e]
	hurdle := ended(until)
}

# METADATA
# title: Past its last moment
# custom: {code: grant.expired, clause: 国办发〔2021〕52号 四(九), zh: 授权已到期}
ended(until) := [15, "grant.expired"] if not lasting(until)

# METADATA
# title: Used as often as was granted
# custom: {code: grant.frequency_exceeded, clause: 国办发〔2024〕15号 三(五), zh: 已用满授权次数}
ended(until) := [19, "grant.frequency_exceeded"] if lasting(until)

lasting(until) if {
	is_number(until)
	input.now < until
}

# METADATA
# title: By span, the lines of grants that may be used, and those that may not
spans_now := [[usable, over] |
	span := input.spans[_]
	usable := [lines | [e, lines] := span[_]; open_ends[e]]
	over := [[reached_ends[e], lines] | [e, lines] := span[_]]
]

# METADATA
# title: Distinct cases with the standing of their grants
# description: As [case, lines that may be used, lines that may not].
trials := [trial |
	some trial in {[check[0], spans_now[check[1]][0], spans_now[check[1]][1]] | check := input.checks[_]}
]

# METADATA
# title: What each asked item rests on
# description: |
#   As [what it lacks, its line, its terms]; the first two decide. What needs no grant stands as the last line, with the item for terms.
cover := {v: object.union(free, granted) |
	[n, usable, _] := trials[v]
	q := input.cases[n].question
	granted := {code: best |
		some code in input.questions[q].items
		covering := {[lacks, line, t] |
			[line, t] := input.cases[n].held[code][_]
			lacks := grants_held.yields[q][t].lacks
			open_lines := usable[_]
			line in open_lines
		}
		covering != set()
		best := min(covering)
	}
	free := {code: [1000, 9999, code] |
		some code in input.questions[q].items
		field_answers.bare[q][code]
	}
}
