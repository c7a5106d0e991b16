# METADATA
# title: What is judged
# description: |
#   A case is one check, or one detail of an authorization request. Both are judged by the same rules about who asks and what for;
#   so a request can never be accepted whose checks would all be refused.
package consent.cases_judged

# METADATA
# title: The cases in the order of the input
cases := array.concat(object.get(input, "checks", []), details)

# METADATA
# title: The details of authorization requests, each with the facts of its request
details := [detail |
	pushed := input.requests[r]
	asked := pushed.details[d]
	detail := object.union(asked, {
		"request": r,
		"now": pushed.now,
		"today": object.get(pushed, "today", null),
		"institution": object.get(pushed, "institution", null),
		"terminal": "unregistered",
		"allowed_items": object.get(pushed, "allowed_items", null),
	})
]
