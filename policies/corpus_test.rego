package consent.corpus

# The hand-written cases, which deploy/tools/check-policies.sh lays beside the policies as `data.cases`: each with the input that the
# service would make of it and the whole answer that is expected. Whole answers are compared, so a second, unexpected reason fails, too.

test_every_decision_of_the_corpus if {
	count(data.cases.checks) > 0
	wrong := [case.name |
		case := data.cases.checks[_]
		found := data.consent.decision.answers with input as {"checks": [case.input]}
		found != [object.union(case.answer, {"revision": data.consent.revision})]
	]
	print(wrong)
	wrong == []
}

test_every_verdict_of_the_corpus if {
	count(data.cases.requests) > 0
	wrong := [case.name |
		case := data.cases.requests[_]
		found := data.consent.request.answers with input as {"requests": [case.input]}
		found != [object.union(case.answer, {"revision": data.consent.revision})]
	]
	print(wrong)
	wrong == []
}
