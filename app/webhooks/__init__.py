"""Webhooks: what ends, and what is crossed or closed, is told to a tenant's endpoints, signed, at least once.

A message is written in the transaction of what it tells, its body frozen there, with a delivery for every
endpoint that hears it. The deliveries are the queue: leased one by one, attempted by a schedule, never reset.
A replay is a new delivery of the same message.

| Room | What it has |
|---|---|
| `kinds` | the types of messages, and which change of a request has which; pure |
| `bodies` | the body of each type of message; pure |
| `subscriptions` | which endpoints a tenant has in a mode, and which of them hear a message |
| `outbox` | writing a message with its deliveries, and those that are owed |
| `schedule` | when the next attempt is, and when there is none; pure |
| `verdicts` | what an answer or an error means for a delivery and its endpoint; pure |
| `claims` | leasing what is due: the caps of endpoints and tenants, turns between tenants |
| `records` | what an attempt came to, and an endpoint that fails for too long |
| `sender` | one attempt: signed, sent through the egress guard, its answer read to the first KiB |
| `delivery` | the loop: claims, sends, records |
| `signing` | signatures of the Standard Webhooks, v1 and v1a |
| `secrets` | endpoints' secrets, sealed under the operator's key |
| `endpoints`, `rotation` | creating, editing, pausing and deleting endpoints, and their secrets' rotation |
| `log`, `replays` | reading deliveries and attempts; sending them again |
| `conditions` | what the operator is told, raised and cleared once for all servers |
| `operator` | the operator's own endpoint, which the settings name |
"""
