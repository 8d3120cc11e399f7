"""What an operator can do: one module a noun, the same for the commands and for an admin API.

Each use case is an asynchronous function of a gateway and, where it writes, of the actor who asks for it. It
returns what it did or found, or raises a `Problem` of the catalogue; it never prints and never exits.

The package stands below `gateway`: a use case needs a database, a clock, settings and the catalogue's list
of models (`session.AdminGateway`), which a whole gateway has, and which a command opens in a tenth of the
time. So no use case can reach for what only a server has.
"""
