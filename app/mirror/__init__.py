"""The mirror: copies of outputs in the gateway's own store, because RunComfy forgets its own.

`rows` has the assets, one for each file of an output, and writes them in the transaction that completes the
request. `loop` leases what is due (`claims`), copies each by itself (`copier`) and records what came of it
(`records`); `schedule` is pure. `sweeper` removes copies whose time is over.
"""
