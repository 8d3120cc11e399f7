"""The gateway's objects, and the one way to open them, for HTTP, CLI, worker and tests alike."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from ipaddress import ip_network
from typing import TYPE_CHECKING

from pydantic import SecretStr

from app.admin.amounts.usage import count_refused
from app.admin.audit_log import AuditUpkeep
from app.admin.calls import CallUpkeep
from app.admin.checks.conditions import Examiner
from app.admin.session import AdminSession
from app.admin.webhooks.webhook_reach import webhook_reach
from app.auth.admin_keys import AdminAuthenticator
from app.auth.callers import Callers
from app.auth.keys import Mode
from app.auth.oidc.terms import Terms
from app.auth.origins import Origins
from app.auth.permits import Permits
from app.auth.principal import Authenticator
from app.auth.refusals import Refusals
from app.auth.sessions import Sessions
from app.catalog.catalog import Catalog, open_catalog
from app.catalog.media.policy import MediaPolicy
from app.client_tokens.mint import Minter
from app.client_tokens.rejection_log import RejectionLog
from app.config import Settings, SettingsError
from app.db.engines.engine import Database, is_sqlite
from app.db.engines.sqlite import server_lock
from app.db.processes import Heartbeat, Role
from app.db.revision import open_checked
from app.egress.addresses import parse_network
from app.egress.client import Egress, Reach
from app.egress.tls import system_trust
from app.egress.urls import parse_url
from app.files.direct import DirectUploads
from app.files.references import References
from app.files.sending import FileLinks, FileSender
from app.files.sweeping import Sweeper
from app.files.uploads import Uploads
from app.generations import events, messages, store
from app.generations.advance import Patience
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.dispatch.loop import DispatchLoop
from app.generations.dispatch.references import ReferenceResolver
from app.generations.dispatch.rescue import Rescuer
from app.generations.dispatch.spool import Spool
from app.generations.following.cancel import Canceller
from app.generations.following.poll_buffer import PollBuffer
from app.generations.following.poller import Poller
from app.generations.following.position import Positions
from app.generations.following.recent import RecentRows
from app.generations.following.schedule import Durations, Schedule
from app.generations.following.tracker import Tracker
from app.generations.following.watch import Watch
from app.generations.queue.decide import SubmitPolicy, policy_of
from app.generations.retention import Retention
from app.generations.submit.inspection import Inspector
from app.generations.submit.record import Admission
from app.generations.submit.submitter import Submitter
from app.kit.clock import Clock, SystemClock
from app.kit.log import get_logger
from app.kit.redaction import redactor
from app.kit.room import Room
from app.kit.secrets import pepper_id
from app.kit.tasks import Tasks
from app.media.probe import Prober
from app.mirror.copier import Copier
from app.mirror.loop import Mirror
from app.mirror.records import Terms as KeepTerms
from app.mirror.rows import ASSET, Asset
from app.mirror.sweeper import Sweeper as CopySweeper
from app.quotas.calls import CallLimiter
from app.quotas.limits import refused_models
from app.quotas.metrics import Metric
from app.settings.values import PREFIX
from app.settings.webhooks import webhook_secret_in
from app.storage.opening import Storage, open_storage
from app.upstream.client import Upstream
from app.upstream.credentials import SANDBOX, Credential, Pool
from app.webhooks.deliveries.claims import Caps
from app.webhooks.deliveries.delivery import Deliverer
from app.webhooks.deliveries.sender import OwnEndpoint, Sender
from app.webhooks.history.replays import Replayer
from app.webhooks.history.retention import WebhookRetention
from app.webhooks.messages import operator

if TYPE_CHECKING:  # its library is an extra
    from app.auth.oidc.sign_in import SignIns

_LEASE_MARGIN_S = 5.0  # the time of a poll's lease beyond the deadlines of its two calls, for the database
_MIN_WATCH_S = 0.25
_DAY_S = 86_400
_LINK_DAYS = 7
_EXAMPLES_URL = "https://playgrounds-storage-public.runcomfy.net"  # the files that RunComfy's pages show
_log = get_logger("gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call: authentication, permits, web origins, limits on calls, minting, and the rejection log.

    `callers` tells from where a call came, and `refusals` counts the calls that were refused.

    `sessions` are those of the console and the portal; `oidc` begins those of people who sign in by OpenID
    Connect, where the settings name a provider.
    `reads` limits the calls with an API key that are not submits, `calls` all calls with a client token.
    """

    authenticator: Authenticator
    admin: AdminAuthenticator
    sessions: Sessions
    oidc: "SignIns | None"
    permits: Permits
    origins: Origins
    reads: CallLimiter
    calls: CallLimiter
    minter: Minter
    rejection_log: RejectionLog
    callers: Callers
    refusals: Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What brings live generations up to date, and tells their subscribers.

    A reload may add pollers; who runs their loops is told by `on_poller`.
    """

    tracker: Tracker
    pollers: list[Poller]
    watch: Watch
    canceller: Canceller
    recent: RecentRows
    on_poller: list[Callable[[Poller], None]] = field(default_factory=list)

    def add(self, poller: Poller) -> None:
        """Adds a poller, and has its loop run."""
        self.pollers.append(poller)
        for tell in self.on_poller:
            tell(poller)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What happens by time alone.

    Submits without an outcome become unknown and then lost; old outputs and unused client tokens are removed;
    old records of admin calls are removed; the head of the audit log is told, and what the operator should
    know of. Files that expired are deleted, and so are copies of outputs. Replays of webhooks proceed, and
    their log is removed after a time. This process shows that it is alive.
    """

    rescuer: Rescuer
    retention: Retention
    replays: Replayer
    webhook_log: WebhookRetention
    sweeper: CopySweeper
    audit: AuditUpkeep
    admin_calls: CallUpkeep
    conditions: Examiner
    heartbeat: Heartbeat
    files: Sweeper


@dataclass(slots=True, kw_only=True, eq=False)
class Gateway:
    """Everything that a request, a command or a loop works with.

    A reload replaces `settings`, and nothing else; `reloading` is held meanwhile. `base_url` is the base of
    its URLs in answers, without a slash at its end. `large_bodies` is the memory, in bytes, for bodies that
    hold files by value.
    """

    settings: Settings
    base_url: str
    clock: Clock
    tasks: Tasks
    db: Database
    catalog: Catalog
    policy: SubmitPolicy
    access: Access
    pool: Pool
    submitter: Submitter
    dispatch_loop: DispatchLoop
    following: Following
    webhooks: Deliverer
    mirror: Mirror
    upkeep: Upkeep
    large_bodies: Room
    storage: Storage
    uploads: Uploads
    direct_uploads: DirectUploads
    file_links: FileLinks
    reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def asset_link(self, asset: Asset, *, expires_s: int | None = None) -> str:
        """Returns the address at which anybody may read the copy of an output's file until this second.

        Without one it ends with a day (UTC), six to seven days from now, so that it is the same all day.
        """
        if expires_s is None:
            expires_s = (self.clock.now_ms() // 1000 // _DAY_S + _LINK_DAYS) * _DAY_S
        row_id = asset.id.removeprefix(ASSET)
        return self.file_links.copy_url(asset.tenant_id, row_id, expires_s=expires_s)


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, clock: Clock | None = None, serving: bool = False, role: Role = "server"
) -> AsyncIterator[Gateway]:
    """Opens a gateway; leaving the block waits for its tasks, for at most `drain_s` seconds.

    `serving` is for servers: it takes the lock that makes a server the only one on an SQLite file, reads what
    earlier runs stored (durations, credentials' health, the spool), and listens for announcements. Its `role`
    is what operators see of it.

    Raises:
        SettingsError: the pepper is missing or weak.
        LimitError: a default limit cannot be parsed.
        CatalogError: a model file cannot be parsed.
        ServerRunningError: there is another server on this SQLite file.
        SchemaError: the database has to be migrated first.
        Problem: DATABASE_UNAVAILABLE.

    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        pepper = settings.current_pepper()
        redactor.remember(settings.secrets())
        catalog = open_catalog(settings)
        url = settings.database
        if serving and is_sqlite(url):
            stack.callback(server_lock(url).release)
        db = await open_checked(url, pool=settings.database_pool)
        stack.push_async_callback(db.close)
        storage = await stack.enter_async_context(open_storage(settings, clock))
        rejection_log = RejectionLog(db, clock)
        stack.push_async_callback(rejection_log.close)
        refusals = Refusals(db, clock, also=count_refused)
        stack.push_async_callback(refusals.close)
        pool = Pool(clock, [_sandbox(settings), *live_credentials(settings)])
        stack.callback(pool.close)
        spool = Spool(settings.data_dir / "spool.jsonl")
        tasks = Tasks()
        stack.push_async_callback(tasks.drain, settings.drain_s)
        peppers = {pepper_id(one): one for one in (pepper, *settings.older_peppers())}
        oidc = await _open_oidc(settings, clock, db, stack)
        sessions = Sessions(
            db,
            clock,
            tasks,
            _peppers_of_sessions(peppers, Terms.of(settings)),
            idle_ms=int(settings.session_idle_s * 1000),
        )
        policy = policy_of(settings)
        positions = Positions(db, clock, Durations(), policy)
        tracker = Tracker(
            db=db,
            clock=clock,
            pool=pool,
            tasks=tasks,
            poll_buffer=PollBuffer(db, tasks),
            schedule=Schedule(settings.poll_min_s, settings.poll_max_s),
            patience=Patience(int(settings.missing_grace_s * 1000), int(settings.follow_for_s * 1000)),
            positions=positions,
            freshness_s=settings.freshness_s,
            lease_s=2 * settings.read_deadline_s + _LEASE_MARGIN_S,
        )
        watch = Watch(
            db=db,
            clock=clock,
            tracker=tracker,
            tasks=tasks,
            interval_s=max(settings.freshness_s, _MIN_WATCH_S),
            max_per_tenant=settings.streams_per_tenant,
            max_per_token=settings.streams_per_token,
        )
        uploads = _uploads(settings, db=db, clock=clock, storage=storage, catalog=catalog, policy=policy)
        file_links = FileLinks.of(settings)
        dispatcher = Dispatcher(
            db=db,
            clock=clock,
            pool=pool,
            policy=policy,
            spool=spool,
            references=ReferenceResolver(
                catalog=catalog, sender=_file_sender(settings, db, clock, storage, file_links)
            ),
        )
        recent = RecentRows(db, clock, tasks)
        dispatch_loop = DispatchLoop(
            db=db,
            dispatcher=dispatcher,
            tasks=tasks,
            at_once=settings.dispatches_at_once,
            lease_s=settings.dispatch_lease_s,
            deadline_s=settings.submit_deadline_s,
        )
        webhooks = _deliverer(settings, db, clock, tasks)
        mirror = _mirror(settings, db, clock, tasks, storage)
        if serving:
            await storage.intake.clear()
            if refused := refused_models(catalog.models.values(), policy.default_limits):
                _log.warning(
                    "The default limits refuse models that declare no output_seconds.", models=refused
                )
            for model_id, duration_ms in await db.read(store.durations):
                positions.durations.learn(model_id, duration_ms)
            await pool.begin(db)
            await spool.replay(db, clock)
            dispatch_loop.listen()
            webhooks.due.listen()
            mirror.due.listen()
            await db.write(operator.configure, settings.operator_webhook_url, now_ms=clock.now_ms())
            await stack.enter_async_context(db.announcements.heard())
        pollers = [Poller(tracker, one, settings.polls_at_once) for one in pool.all.values()]
        yield Gateway(
            settings=settings,
            base_url=settings.base_url,
            clock=clock,
            tasks=tasks,
            db=db,
            catalog=catalog,
            policy=policy,
            access=Access(
                authenticator=Authenticator.with_peppers(db, clock, tasks, pepper, settings.older_peppers()),
                admin=AdminAuthenticator(db, clock, tasks, peppers),
                sessions=sessions,
                oidc=oidc,
                permits=Permits(db, clock, tasks, sessions),
                origins=Origins(db, clock),
                reads=CallLimiter(clock, Metric.READS_MINUTE, settings.reads_per_minute),
                calls=CallLimiter(clock, Metric.CALLS_MINUTE, settings.token_calls_per_minute),
                minter=Minter(
                    db=db,
                    clock=clock,
                    catalog=catalog,
                    pepper=pepper,
                    limiter=CallLimiter(clock, Metric.TOKENS_MINUTE, settings.tokens_per_minute),
                ),
                rejection_log=rejection_log,
                callers=_callers(settings),
                refusals=refusals,
            ),
            pool=pool,
            submitter=Submitter(
                db=db,
                clock=clock,
                catalog=catalog,
                pool=pool,
                tasks=tasks,
                admission=Admission(db),
                dispatcher=dispatcher,
                inspector=_inspector(settings, db, clock, tasks),
                policy=policy,
                lease_s=settings.dispatch_lease_s,
                deadline_s=settings.submit_deadline_s,
                queueing=settings.queueing,
            ),
            dispatch_loop=dispatch_loop,
            following=Following(
                tracker=tracker,
                pollers=pollers,
                watch=watch,
                canceller=Canceller(tracker, watch, settings.submit_deadline_s),
                recent=recent,
            ),
            webhooks=webhooks,
            mirror=mirror,
            upkeep=Upkeep(
                rescuer=Rescuer(db, clock, settings.unknown_refund_after_s),
                retention=Retention(
                    db=db,
                    clock=clock,
                    keep_s=settings.result_retention_s,
                    keep_tokens_s=settings.token_retention_s,
                    keep_hours_s=settings.hourly_usage_days * _DAY_S,
                    keep_callers_s=settings.caller_retention_s,
                    keep_refusals_s=settings.refusal_retention_s,
                    on_erased=recent.clear,
                ),
                replays=Replayer(db, clock),
                webhook_log=WebhookRetention(db, clock, settings.webhook_retention_s),
                sweeper=CopySweeper(db=db, clock=clock, store=storage.store, tell=messages.tell_asset),
                audit=AuditUpkeep(
                    gateway=AdminSession(settings, clock, db), keep_s=settings.audit_retention_s
                ),
                admin_calls=CallUpkeep(
                    gateway=AdminSession(settings, clock, db), keep_s=settings.admin_call_retention_s
                ),
                conditions=Examiner(
                    gateway=AdminSession(settings, clock, db),
                    pool=pool,
                    lags_ms=lambda: {one.credential.name: one.lag_ms for one in pollers},
                ),
                heartbeat=Heartbeat(db, clock, role),
                files=Sweeper(db=db, clock=clock, uploads=uploads),
            ),
            large_bodies=_large_bodies(settings),
            storage=storage,
            uploads=uploads,
            direct_uploads=DirectUploads(uploads=uploads),
            file_links=file_links,
        )


def _uploads(
    settings: Settings,
    *,
    db: Database,
    clock: Clock,
    storage: Storage,
    catalog: Catalog,
    policy: SubmitPolicy,
) -> Uploads:
    at_once = settings.uploads_at_once
    return Uploads(
        db=db,
        clock=clock,
        storage=storage,
        catalog=catalog,
        limits=lambda: policy.default_limits,
        room=Room(at_once, share=max(1, at_once // 2)),
        token_room=Room(at_once, share=max(1, at_once // 8)),
        max_bytes=settings.max_upload_bytes,
        token_bytes=settings.token_upload_bytes,
        keep_s=settings.upload_retention_s,
    )


def _deliverer(settings: Settings, db: Database, clock: Clock, tasks: Tasks) -> Deliverer:
    own, operator_reach = None, Reach()
    if settings.operator_webhook_url is not None and settings.operator_webhook_secret is not None:
        url, secret = settings.operator_webhook_url, settings.operator_webhook_secret
        own = OwnEndpoint(url=url, secret=webhook_secret_in(secret))
        operator_reach = Reach(hosts=frozenset({parse_url(url).authority}))
    return Deliverer(
        db=db,
        clock=clock,
        tasks=tasks,
        sender=Sender(
            egress=Egress(f"reelgate/{version('reelgate')} (webhooks)"),
            clock=clock,
            reach=webhook_reach(settings),
            operator_reach=operator_reach,
            keys=settings.sealing_keys(),
            own=own,
        ),
        caps=Caps(per_endpoint=settings.webhooks_per_endpoint, per_tenant=settings.webhooks_per_tenant),
        at_once=settings.webhooks_at_once,
        append=events.append_stopped,
    )


def _mirror(settings: Settings, db: Database, clock: Clock, tasks: Tasks, storage: Storage) -> Mirror:
    return Mirror(
        db=db,
        clock=clock,
        tasks=tasks,
        copier=Copier(
            egress=Egress(f"reelgate/{version('reelgate')} (mirror)"),
            reaches=mirror_reaches_of(settings),
            store=storage.store,
            intake=storage.intake,
            threads=storage.threads,
            max_bytes=settings.mirror_max_bytes,
            timeout_s=settings.mirror_timeout_s,
        ),
        terms=KeepTerms(
            keep_ms=int(settings.mirror_retention_s * 1000) or None,
            link_life_ms=int(settings.mirror_link_life_s * 1000),
            limits=policy_of(settings).default_limits,
        ),
        tell=messages.tell_asset,
        at_once=settings.mirror_at_once,
        per_tenant=settings.mirror_per_tenant,
    )


def mirror_reaches_of(settings: Settings) -> dict[Mode, Reach]:
    """Returns, by mode, from where outputs may be copied: the sandbox's own only in mode `test`."""
    named = frozenset(one for one in settings.mirror_hosts if ":" in one)
    only = tuple(one for one in settings.mirror_hosts if ":" not in one)
    inner = ((settings.sandbox_public_base_url, settings.sandbox_base_url),)
    return {
        "live": Reach(named, only=only),
        "test": Reach(named | settings.sandbox_media_hosts, instead=inner, only=only),
    }


async def _open_oidc(
    settings: Settings, clock: Clock, db: Database, stack: AsyncExitStack
) -> "SignIns | None":
    """Returns what operators sign in with by OpenID Connect; None where the settings name no provider.

    Raises:
        SettingsError: the extra that it needs is not installed.

    """
    if (terms := Terms.of(settings)) is None:
        return None
    try:
        from app.auth.oidc.provider import Provider  # noqa: PLC0415 - the library is an extra
        from app.auth.oidc.sign_in import SignIns  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{PREFIX}OIDC_ISSUER needs the extra `oidc`: install reelgate[oidc] ({error.name} is missing)."
        ) from error
    provider = Provider(terms, clock, system_trust())
    stack.push_async_callback(provider.close)
    return SignIns(db, clock, terms, provider, settings.current_pepper())


def _peppers_of_sessions(peppers: Mapping[str, str], terms: Terms | None) -> dict[str, str]:
    """Returns the peppers of sessions, by id; of people's sessions, those of the present terms alone."""
    of_people = [] if terms is None else [terms.pepper(one) for one in peppers.values()]
    return {**peppers, **{pepper_id(one): one for one in of_people}}


def reaches_of(settings: Settings) -> dict[str, Reach]:
    """Returns, by mode, from where files may be fetched: the sandbox's own files only in mode `test`.

    There the example files of RunComfy's pages are the sandbox's too, so that a request that is copied from a
    page works without a network.

    Raises:
        SettingsError: a network cannot be parsed.

    """
    try:
        networks = tuple(map(parse_network, settings.media_networks))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}MEDIA_NETWORKS: {error}.") from error
    hosts = frozenset(settings.http_media_hosts)
    # Callers use the sandbox's public address, which the gateway itself may not be able to reach.
    inner = (
        (settings.sandbox_public_base_url, settings.sandbox_base_url),
        (_EXAMPLES_URL, f"{settings.sandbox_base_url}/examples"),
    )
    return {
        "live": Reach(hosts, networks),
        "test": Reach(hosts | settings.sandbox_media_hosts, networks, inner),
    }


def _callers(settings: Settings) -> Callers:
    return Callers(
        kept=settings.caller_details,
        trusted=tuple(ip_network(one, strict=False) for one in settings.trusted_proxies),
        header=settings.forwarded_header.encode(),
    )


def _inspector(settings: Settings, db: Database, clock: Clock, tasks: Tasks) -> Inspector:
    reaches = reaches_of(settings)
    prober = Prober(
        Egress(_user_agent(settings)),
        clock,
        tasks,
        reaches,
        deadline_s=settings.media_deadline_s,
        believed_ms=int(settings.media_cache_s * 1000),
        per_tenant=settings.media_fetches_per_tenant,
    )
    policies = {
        mode: MediaPolicy(reach.hosts, reach.ports, settings.data_uris) for mode, reach in reaches.items()
    }
    within_s = min(settings.media_deadline_s, settings.submit_deadline_s / 2)
    return Inspector(
        prober=prober,
        references=References(db=db, clock=clock, max_bytes=_max_by_value(settings)),
        policies=policies,
        checks=settings.media_checks,
        within_s=within_s,
    )


def _max_by_value(settings: Settings) -> int | None:
    """Returns the most bytes of a file that is sent by value, in base64; None where it is sent by link."""
    return settings.max_data_uri_bytes // 4 * 3 if settings.sends_files_by_value else None


def _file_sender(
    settings: Settings, db: Database, clock: Clock, storage: Storage, file_links: FileLinks
) -> FileSender:
    return FileSender(
        db=db,
        clock=clock,
        store=storage.store,
        links=file_links,
        by_value=settings.sends_files_by_value,
        link_s=settings.file_link_s,
    )


def _large_bodies(settings: Settings) -> Room:
    """Returns the room for large bodies, of which a tenant may hold half, or what one body needs."""
    size = settings.large_bodies_bytes
    return Room(size, share=max(size // 2, settings.max_body_bytes + settings.max_data_uri_bytes))


def _user_agent(settings: Settings) -> str:
    """Returns what servers of strangers are told of who fetches from them, with a way to find out more."""
    contact = "" if settings.public_url is None else f" (+{settings.public_url})"
    return settings.media_user_agent or f"reelgate/{version('reelgate')}{contact}"


def _sandbox(settings: Settings) -> Credential:
    upstream = _upstream(settings, settings.sandbox_base_url, settings.sandbox_token)
    return Credential(SANDBOX, "test", upstream, guarded=False)


def live_credentials(settings: Settings, present: Iterable[Credential] = ()) -> list[Credential]:
    """Returns RunComfy's credentials, as configured; those with a token of `present` keep its client."""
    found = []
    for one in settings.live_credentials:
        token = one.token.get_secret_value()
        kept = next(
            (each for each in present if each.name == one.name and each.upstream.has_token(token)), None
        )
        upstream = (
            _upstream(settings, settings.upstream_base_url, one.token, settings.upstream_proxy_url)
            if kept is None
            else kept.upstream
        )
        found.append(Credential(one.name, "live", upstream, weight=one.weight, concurrency=one.concurrency))
    return found


def _upstream(settings: Settings, base_url: str, token: SecretStr, proxy: str | None = None) -> Upstream:
    return Upstream(
        base_url=base_url,
        token=token.get_secret_value(),
        read_deadline_s=settings.read_deadline_s,
        proxy=proxy,
    )
