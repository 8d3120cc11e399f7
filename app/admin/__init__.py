"""The operator's use cases, one module for each noun; commands call them, and an admin API can too.

A use case is an asynchronous function of a gateway and, where it writes, of the actor who asks for it. It
returns what it did or found, or raises a `Problem` of the catalogue; it never prints and never exits.

The package stands below `gateway` and needs only a database, a clock, the settings and the catalogue's models
(`session.AdminGateway`). A whole gateway has them, and a command opens them alone in a tenth of the time.
"""
