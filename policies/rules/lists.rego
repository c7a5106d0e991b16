# METADATA
# title: Lists of fields
# description: The fields of a list in their order, as far as a second list names them, or does not.
package consent.lists

meet(fields, others) := fields if {
	fields == others
} else := [f | f := fields[_]; f in others]

less(fields, others) := [] if {
	fields == others
} else := [f | f := fields[_]; not f in others]
