"""Taking settings over while a process runs: credentials, default limits and the level of the log.

Everything is read, parsed and made before anything is changed, so a reload is made as a whole or not at all.
"""

from collections.abc import Callable

from pydantic import ValidationError

from app import settings_file
from app.config import RELOADED, Settings
from app.db.processes import Heartbeat
from app.errors import Problem
from app.gateway import Gateway, live_credentials
from app.generations.following.poller import Poller
from app.generations.queue.decide import policy_of
from app.kit.log import get_logger, set_level
from app.kit.redaction import redactor
from app.settings.values import PREFIX
from app.upstream import credentials

_log = get_logger("settings")
_FAULTS = (OSError, Problem, ValueError)


async def reload(gateway: Gateway, read: Callable[[], Settings] = Settings) -> str | None:
    """Reads the settings again and takes over what can be; returns why nothing was changed, if so.

    What else has changed in them is logged: it needs a restart.
    """
    async with gateway.reloading:  # one that was read earlier must not come later
        return await _reload(gateway, read)


async def _reload(gateway: Gateway, read: Callable[[], Settings]) -> str | None:
    try:
        await settings_file.settled()
        settings = read()
        changed = await _take_over(gateway, settings)
    except _FAULTS as error:
        fault = faults_of(error)
        _log.error("The settings were not reloaded; nothing was changed.", error=fault)
        await tell(gateway.upkeep.heartbeat, fault)
        return fault
    _log.info("The settings were reloaded.", changed=sorted(changed & RELOADED))
    if needing := sorted(f"{PREFIX}{name.upper()}" for name in changed - RELOADED):
        _log.warning("Changed settings need a restart.", settings=needing)
    await tell(gateway.upkeep.heartbeat, None)
    return None


def faults_of(error: Exception) -> str:
    """Returns what is wrong with settings, in one line, by the names of their variables."""
    if not isinstance(error, ValidationError):
        return redactor.redact(str(error))
    found = []
    for one in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in one["loc"]).upper()
        found.append(f"{PREFIX}{name}: " * bool(name) + one["msg"].removeprefix("Value error, "))
    return "; ".join(found)


async def _take_over(gateway: Gateway, settings: Settings) -> set[str]:
    """Takes settings over, and returns the names of all that are different now."""
    limits = policy_of(settings).default_limits
    present = gateway.settings
    fixed = present.model_copy(update={name: getattr(settings, name) for name in RELOADED})
    redactor.remember(settings.secrets())
    coming = live_credentials(fixed, gateway.pool.all.values())
    for one in coming:
        if one.name not in gateway.pool.all:
            await gateway.db.write(credentials.save, one.name, one.health, now_ms=gateway.clock.now_ms())
    # From here on nothing can fail.
    for one in gateway.pool.replace("live", coming):
        gateway.following.add(Poller(gateway.following.tracker, one, fixed.polls_at_once))
    gateway.policy.default_limits = limits
    if fixed.log_level != present.log_level:
        set_level(fixed.log_level)
    gateway.settings = fixed
    return {name for name in Settings.model_fields if getattr(settings, name) != getattr(present, name)}


async def tell(heartbeat: Heartbeat, fault: str | None) -> None:
    """Tells operators that the settings were read or, with a fault, why nothing was changed."""
    try:
        await heartbeat.note_settings(fault)
    except Problem:  # `reelgate processes list` learns it with the next beat
        _log.warning("The database does not know of the reload yet.")
