"""Replay: the state of every grant, institution, platform, client, model and counter, rebuilt from records alone.

A pure machine (`state.State`) takes the records in order and names each one that those before it do not allow; a thin driver (`run`)
feeds it from a published ledger whose hashes, chain and signature it checks on the way. Nothing here knows the service's code.

What it keeps is what is live at the index: memory does not grow with the number of records (see `state`).
"""
