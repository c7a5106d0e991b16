# The way that data goes.
#
# 唯一出口: pooled public credit information reaches financial institutions through the integrated platforms only. A department may
# serve its own domain directly (an item's bar, item.rego). Conduits between platform and bank are hops of their own: each is
# registered, of a kind that passes data on, and in good standing; which ones may be used is said by the grant (grant.rego).
package consent.case_refusals

import data.consent.settings
import data.consent.standing

# METADATA
# title: The way is neither a platform's nor a department's own
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一), zh: 数据未经融资信用服务平台，也非部门直供本领域数据}
refusals[q] contains "channel.not_allowed" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	not regular(asked)
}

# METADATA
# title: A conduit without standing
# custom: {code: channel.not_allowed, clause: 财办会〔2025〕32号 三(一), zh: 途经的通道未登记、不属通道类别或不具备接入条件}
refusals[q] contains "channel.not_allowed" if {
	some q in unsound
	some hop in input.questions[q].more.via
	not conducting(input.questions[q], hop)
}

# METADATA
# title: The caller is neither an institution nor a kind that provides data
# custom: {code: channel.not_allowed, clause: 国办发〔2024〕15号 二(一), zh: 调用方既非接入机构，也非数据提供平台}
refusals[q] contains "channel.not_allowed" if {
	some q in unsound
	asked := input.questions[q]
	asked.way[0]
	not providing(asked)
}

routed(asked) if {
	not asked.more.via
	not asked.more.channel
}

routed(asked) if {
	regular(asked)
	count([hop | hop := asked.more.via[_]; not conducting(asked, hop)]) == 0
}

regular(asked) if not asked.more.channel

regular(asked) if asked.more.channel == "platform"

regular(asked) if {
	asked.more.channel == "department_direct"
	input.parties[asked.more.platform].kind in settings.own_domain_kinds
}

conducting(asked, hop) if {
	standing.good[asked.more.hops[hop]]
	input.parties[asked.more.hops[hop]].kind in settings.conduit_kinds
}

providing(asked) if asked.way[0] == "institution"

providing(asked) if {
	asked.way[0] == "platform"
	input.parties[asked.more.platform].kind in settings.providing_kinds
}

# An unregistered platform is told that it has no standing, not that its way is wrong.
providing(asked) if {
	asked.way[0] == "platform"
	not platform_known(asked)
}

platform_known(asked) if input.parties[asked.more.platform]
