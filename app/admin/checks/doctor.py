"""Checks of a configuration, and of the database and the servers that it names.

They change nothing but the one row by which writes are tried, and an object in the store that is deleted
again. Of a gateway they need its settings alone, because they must also say why none can be opened.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.admin import audit_log
from app.admin.checks import database_checks, sign_in_checks, store_probe
from app.admin.checks.database_checks import Check, Level, UnusableError
from app.admin.session import AdminGateway
from app.auth import keys
from app.catalog.catalog import Catalog, CatalogError, open_catalog
from app.config import Settings, SettingsError
from app.db.engines.engine import Database
from app.db.outage import words_of
from app.db.schema.webhook_states import EndpointState
from app.egress.addresses import parse_network
from app.generations import leases, store
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog
from app.kit.clock import SystemClock, iso
from app.kit.redaction import redactor
from app.kit.secrets import pepper_id
from app.quotas.amounts import credits_text
from app.quotas.limits import parse_limit
from app.quotas.sums import usage
from app.settings.values import PREFIX
from app.upstream import credentials
from app.upstream.breaker import Condition
from app.upstream.client import Upstream
from app.upstream.credentials import NONEXISTENT_ID, SANDBOX
from app.upstream.outcomes import Seen, observe_status
from app.webhooks.deliveries import backlog as webhooks

_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_MUCH_TOO_LATE_S = 60
_MAX_SHOWN = 10  # tenants, models
_MAX_AUDITED = 100
_MAX_OPENED = 1000


@dataclass(frozen=True, slots=True)
class Configured:
    """Settings, where there may be no gateway that works with them."""

    settings: Settings


async def examine(gateway: Configured | AdminGateway) -> list[Check]:
    """Runs every check, in the order in which a server meets them when it starts; returns the results."""
    settings = gateway.settings.beside_development()
    return [
        _check("pepper", lambda: _pepper(settings)),
        _check("catalogue", lambda: _describe(open_catalog(settings))),
        *_clients(settings),
        *_wrong_settings(settings),
        *await _reach(settings),
    ]


def of_settings(settings: Settings) -> list[Check]:
    """Checks what a server makes of its settings when it starts, without a database or a network."""
    return [
        _check("pepper", lambda: _pepper(settings)),
        _check("catalogue", lambda: _describe(open_catalog(settings))),
        *_wrong_settings(settings),
    ]


def _check(name: str, examine_one: Callable[[], tuple[Level, str]]) -> Check:
    try:
        level, finding = examine_one()
    except (CatalogError, SettingsError, OSError) as error:
        level, finding = "bad", str(error)
    return Check(name, level, finding)


async def _safely(name: str, examine_some: Awaitable[list[Check]]) -> list[Check]:
    """Returns the checks; one that is bad in their place where an error that nobody foresaw ends them."""
    try:
        return await examine_some
    except (UnusableError, SettingsError) as error:
        return [Check(name, "bad", redactor.redact(str(error)))]
    except Exception as error:  # noqa: BLE001 - a doctor says what it meets
        return [Check(name, "bad", redactor.redact(f"{type(error).__name__}: {words_of(error)}"))]


def _wrong_settings(settings: Settings) -> list[Check]:
    """Checks the settings that a server parses when it starts."""
    found = []
    parsers: tuple[tuple[str, list[str], Callable[[str], object]], ...] = (
        ("DEFAULT_LIMITS", settings.default_limits, parse_limit),
        ("MEDIA_NETWORKS", settings.media_networks, parse_network),
        ("WEBHOOK_NETWORKS", settings.webhook_networks, parse_network),
    )
    for name, values, parse in parsers:
        for value in values:
            try:
                parse(value)
            except ValueError as error:
                found.append(Check("settings", "bad", f"{PREFIX}{name}: {error}"))
    return found


def _pepper(settings: Settings) -> tuple[Level, str]:
    if settings.pepper is None and settings.development:
        return "note", "kept in the data folder, made at the first start; set REELGATE_PEPPER in production"
    settings.current_pepper()
    return "good", "set"


def _describe(catalog: Catalog) -> tuple[Level, str]:
    warnings = sum(len(model.warnings) for model in catalog.models.values())
    examples = sum(model.pricing.version.startswith("example") for model in catalog.models.values())
    count = f"{len(catalog.models)} model{'' if len(catalog.models) == 1 else 's'}"
    finding = f"{count}, {examples} with example prices, {warnings} warnings"
    return ("note" if warnings or examples else "good"), finding


def _clients(settings: Settings) -> list[Check]:
    """Names the models that RunComfy's own clients would hide or refuse, and what their entries lack."""
    try:
        models = open_catalog(settings).models.values()
    except CatalogError:
        return []  # the check of the catalogue says why
    found = [f"{one.model_id} ({', '.join(one.hidden_from)})" for one in models if one.hidden_from]
    if not found:
        return []
    more = f" and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
    named = ", ".join(found[:_MAX_SHOWN])
    finding = f"RunComfy's own clients hide or refuse {named}{more}: see docs/models.md"
    return [Check("clients", "note", finding)]


async def _reach(settings: Settings) -> list[Check]:
    checks = await _safely("database", _database(settings))
    checks += await _safely("store", store_probe.store(settings))
    checks += await _safely("files", asyncio.to_thread(database_checks.modes, settings))
    if not settings.live_credentials:
        checks.append(Check("upstream", "note", "no REELGATE_UPSTREAM_TOKEN: rg_live_ keys get a 503"))
    for one in settings.live_credentials:
        name = "upstream" if settings.upstream_credentials is None else f"upstream {one.name}"
        token = one.token.get_secret_value()
        checks += await _safely(
            name,
            _upstream(settings, name, settings.upstream_base_url, token, settings.upstream_proxy_url),
        )
    if settings.live_credentials and settings.upstream_proxy is None:
        checks += _unused_proxies()
    checks += await _safely("sign-in", sign_in_checks.examine(settings))
    token = settings.sandbox_token.get_secret_value()
    (sandbox,) = await _safely("sandbox", _upstream(settings, "sandbox", settings.sandbox_base_url, token))
    if sandbox.level == "bad":  # nobody needs it in production
        sandbox = Check(sandbox.name, "note", f"{sandbox.finding}: rg_test_ keys get a 503")
    return [*checks, sandbox]


async def _database(settings: Settings) -> list[Check]:
    async with database_checks.opened(settings) as db:
        return [
            *await database_checks.examine(settings, db),
            *await _safely("keys", _keys(settings, db)),
            *await _safely("audit", _audit(db)),
            *await _safely("queue", _following(settings, db)),
            *await _safely("prices", _prices(db)),
            *await _safely("webhooks", _webhooks(settings, db)),
            *await _safely("mirror", store_probe.mirror(db, late_s=_MUCH_TOO_LATE_S)),
        ]


async def _keys(settings: Settings, db: Database) -> list[Check]:
    """Checks that the newest key was made with a pepper that is configured; else such keys are refused."""
    newest = await db.read(keys.newest_pepper_id)
    if newest is None or (settings.pepper is None and not settings.kept_pepper.exists()):
        return []  # reading the pepper would make one
    try:
        known = {pepper_id(pepper) for pepper in (settings.current_pepper(), *settings.older_peppers())}
    except SettingsError:
        return []  # the check of the pepper says why
    if newest in known:
        return []
    finding = "the newest key needs a pepper that is not in REELGATE_PEPPER or REELGATE_PREVIOUS_PEPPERS"
    return [Check("keys", "bad", finding)]


async def _audit(db: Database) -> list[Check]:
    """Checks the newest entries of the audit log, and its head."""
    found = await db.snapshot(lambda connection: audit_log.verify(connection, only_last=_MAX_AUDITED))
    if found.first_break is not None:
        one = found.first_break
        finding = f"{one.kind} at entry {one.seq}: {one.detail} `reelgate audit verify` reads all of it"
        return [Check("audit", "bad", finding)]
    size = 0 if found.head is None else found.head.size
    return [Check("audit", "good", f"{size} entries; the newest {found.entries} and the head agree")]


async def _prices(db: Database) -> list[Check]:
    """Names the models that were charged less than RunComfy reported that their jobs cost."""
    found = await db.read(usage.below_cost, now_ms=SystemClock().now_ms())
    if not found:
        return []
    named = ", ".join(
        f"{one.model_id} ({credits_text(one.charged_microcredits)} charged,"
        f" {credits_text(one.cost_microusd)} USD reported)"
        for one in found[:_MAX_SHOWN]
    )
    more = f" and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
    finding = (
        f"charged less than RunComfy's cost in the last {usage.COST_DAYS} days: {named}{more}; see"
        " docs/models.md#prices and `reelgate ledger reprice`"
    )
    return [Check("prices", "note", finding)]


async def _webhooks(settings: Settings, db: Database) -> list[Check]:
    """Checks that the secrets of webhook endpoints can be opened, and how sending to them goes."""
    has_one = settings.webhook_key or settings.kept_webhook_key.exists()
    keys_ = settings.sealing_keys() if has_one or not settings.development else []  # reading would make one
    health = await db.read(webhooks.health, keys_, limit=_MAX_OPENED)
    count = sum(health.endpoints.values())
    if not count:
        finding = "no endpoints" if keys_ else "no endpoint can be made: set REELGATE_WEBHOOK_KEY"
        return [Check("webhooks", "good" if keys_ else "note", finding)]
    if health.unreadable:
        named = ", ".join(health.unreadable[:_MAX_SHOWN])
        finding = (
            f"no key in REELGATE_WEBHOOK_KEY opens {len(health.unreadable)} endpoints' secrets ({named}): set"
            " the key that was in use, or rotate them (`reelgate webhooks rotate`)"
        )
        return [Check("webhooks", "bad", finding)]
    now_ms = SystemClock().now_ms()
    waiting = await db.read(webhooks.waiting)
    due_ms = waiting[EndpointState.ENABLED].due_ms
    late_s = 0 if due_ms is None else max(0, now_ms - due_ms) // 1000
    stopped = health.endpoints[EndpointState.DISABLED] + health.endpoints[EndpointState.GONE]
    finding = (
        f"{count} endpoints, {health.failing} of them failing, {stopped} disabled;"
        f" {sum(one.deliveries for one in waiting.values())} webhooks wait"
    )
    if late_s > _MUCH_TOO_LATE_S:
        return [Check("webhooks", "bad", f"{finding}, one is {late_s} s late: does a server run the loops?")]
    return [Check("webhooks", "note" if health.failing or stopped else "good", finding)]


async def _following(settings: Settings, db: Database) -> list[Check]:
    """Checks that live jobs are polled in time, and the health of the credentials, as servers stored it."""
    now_ms = SystemClock().now_ms()
    checks = []
    configured = {SANDBOX, *(one.name for one in settings.live_credentials)}
    for name, (count, first_ms) in (await db.read(leases.live_by_credential)).items():
        late_s = max(0, now_ms - first_ms) // 1000
        level: Level = "bad" if late_s > _MUCH_TOO_LATE_S or name not in configured else "good"
        missing = (
            "" if name in configured else "; this credential is not configured, so nothing can poll them"
        )
        finding = f"{count} live, next poll {f'{late_s} s late' if late_s else 'due soon'}{missing}"
        checks.append(Check(f"jobs of {name}", level, finding))
    for name, health in (await db.read(credentials.stored)).items():
        condition = health.condition(now_ms)
        if condition is not Condition.CLOSED and name in configured:
            until = f"until {iso(health.until_ms)}" if condition is Condition.OPEN else "about to be tried"
            checks.append(Check(f"credential {name}", "bad", f"{condition} {until}: {health.reason}"))
    return [
        *checks,
        await _unknown(db, now_ms),
        await _waiting(db, now_ms),
        *await _playground(settings, db, now_ms),
    ]


async def _playground(settings: Settings, db: Database, now_ms: int) -> list[Check]:
    """Checks the playground's key, where one is set, and says whose credits it spends."""
    kid = settings.playground_kid
    if kid is None:
        return []
    key = await db.read(keys.find, kid)
    if key is None or key.state(now_ms) != "active":
        state = "there is no such key" if key is None else f"it is {key.state(now_ms)}"
        finding = f"REELGATE_PLAYGROUND_KID names {kid}: {state}; the page gets no token"
        return [Check("playground", "bad", finding)]
    finding = f"whoever can open /playground uses the limits of key {kid} of {key.tenant_name} ({key.mode})"
    return [Check("playground", "note" if key.mode == "live" else "good", finding)]


async def _unknown(db: Database, now_ms: int) -> Check:
    """Says how many requests are unknown: each may be a job to pay for, which only the operator can find."""
    found = await db.read(store.unknown_by_mode)
    if not found:
        return Check("unknown", "good", "no request is unknown")
    counts = ", ".join(f"{count} of rg_{mode}_ keys" for mode, (count, _) in sorted(found.items()))
    oldest_s = max(0, now_ms - min(first_ms for _, first_ms in found.values())) // 1000
    finding = (
        f"{counts}, the first for {oldest_s} s: look for their jobs at RunComfy (`reelgate requests list"
        " --state unknown`), then `reelgate requests resolve`"
    )
    return Check("unknown", "note", finding)


async def _waiting(db: Database, now_ms: int) -> Check:
    """Says how many requests are queued, whose, and whether dispatch is paused."""
    found, paused = await db.read(backlog.backlogs), await db.read(backlog.paused)
    waiting = [one for one in found if one.queued]
    finding = "nothing is queued"
    if waiting:
        oldest_ms = min(one.oldest_at_ms or now_ms for one in waiting)
        shares = ", ".join(
            f"{one.tenant} ({one.mode}) {one.queued}"
            + (f", {_stop(one)}" if one.stopped else f" with a share of {backlog.share(one, found):.0%}")
            for one in sorted(waiting, key=lambda one: -one.queued)[:_MAX_SHOWN]
        )
        count = sum(one.queued for one in waiting)
        finding = f"{count} queued, the oldest for {max(0, now_ms - oldest_ms) // 1000} s: {shares}"
    for mode, at_ms in paused.items():
        finding += f"; dispatch for rg_{mode}_ keys is paused since {iso(at_ms)}"
    return Check("queue", "note" if waiting or paused else "good", finding)


def _stop(one: Backlog) -> str:
    return "its tenant is disabled" if one.disabled else "paused"


def _unused_proxies() -> list[Check]:
    """Names the environment's proxies, which other programs use and the gateway does not."""
    found = [name for name in _PROXIES if os.environ.get(name)]
    if not found:
        return []
    finding = f"{', '.join(found)} is set and not used; REELGATE_UPSTREAM_PROXY names a proxy for RunComfy"
    return [Check("proxy", "note", finding)]


async def _upstream(
    settings: Settings, name: str, base_url: str, token: str, proxy: str | None = None
) -> list[Check]:
    """Asks for a request that cannot exist, which is free: a 404 shows that the credential is accepted."""
    async with Upstream(
        base_url=base_url,
        token=token,
        read_deadline_s=settings.read_deadline_s,
        proxy=proxy,
    ) as upstream:
        observation = observe_status(await upstream.status(NONEXISTENT_ID))
    if proxy is not None:
        base_url += f" (through the proxy {settings.upstream_proxy_host})"
    match observation.seen:
        case Seen.GONE:
            return [Check(name, "good", f"{base_url} accepts the gateway's credential")]
        case Seen.CREDENTIAL_REFUSED:
            return [Check(name, "bad", f"{base_url} refuses the gateway's credential ({observation.reason})")]
        case Seen.TIMED_OUT | Seen.UNREACHABLE:
            return [Check(name, "bad", f"{base_url} cannot be reached ({observation.reason})")]
        case _:
            return [Check(name, "bad", f"{base_url} does not answer like RunComfy ({observation.reason})")]
