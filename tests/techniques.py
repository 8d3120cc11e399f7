"""The one place that says by which technique a test works, and which tests only `make test-all` runs.

A marker is read from the fixtures that a test asks for and from the file that it lies in; no test carries
one itself. `deep` marks what is a second copy of a guarantee that another test already holds: the
PostgreSQL copy of a test whose statements are no different there, the further slices of a campaign, the
further widths of a page.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.expression import Expression

from tests import costs

MARKERS: Final = {
    "postgresql": "needs a PostgreSQL server",
    "process": "starts the reelgate command, or another Python, as a process of its own",
    "browser": "drives a real browser",
    "campaign": "a long search or a crowd: a fault at every event, random histories, a thousand callers",
    "costly": "takes long (see `make costs`): `make quick` runs it only where a part is named",
    "deep": "only `make test-all` runs it: another test of `make test` holds the same guarantee",
    "rare": "deep, and too long for each run of CI: only `make test-all` runs it, before a release",
}

_DATABASES: Final = ("sqlite", "postgresql")
_POSTGRESQL_FIXTURES: Final = {"postgres_server", "postgres_template"}
_PROCESS_FIXTURES: Final = {"reelgate", "launcher", "stack"}
_PROCESS_FILES: Final = {
    "cli/test_dev",
    "cli/test_light_commands",
    "cli/test_private_files",
    "cli/test_start",
    "clients/test_examples",
    "clients/test_mcp",
    "clients/test_python_histories",
    "clients/test_python_live",
    "clients/test_python_wheel",
    "clients/test_relay",
    "console/test_company",
    "console/test_company_in_full",
    "console/test_company_tasks",
    "console/test_example",
    "console/test_sign_in_by_oidc",
    "contract/test_generated_clients",
    "contract/test_wheel",
    "gateway/test_kill",
    "gateway/test_upgrade",
    "gateway/test_worker",
    "mirror/test_kill",
    "operations/test_alerts",
    "operations/test_image",
    "operations/test_newcomer",
    "operations/test_restart",
    "operations/test_succession",
    "operations/test_units",
    "server/test_failing_log",
    "sessions/test_oidc_provider",
    "webhooks/test_kill",
    "webhooks/test_receivers",
}
_CAMPAIGN_FILES: Final = {
    "contract/test_schemathesis",
    "contract/test_schemathesis_admin",
    "dispatch/test_any_failure",
    "following/test_watchers",
    "gateway/test_every_event",
    "machine/test_machine",
    "mirror/test_any_failure",
    "queue/test_fair_over_time",
    "queue/test_queue_machine",
    "queue/test_queue_replicas",
    "quotas/test_budget",
}
_OF_FILES: Final = {"process": _PROCESS_FILES, "campaign": _CAMPAIGN_FILES}

_PROCESS_TESTS: Final = {
    "test_a_new_unit_or_window_fails_the_type_check_wherever_they_are_told_apart",
    "test_the_gateway_itself_refuses_in_problem_documents",
}
_CAMPAIGN_TESTS: Final = {
    "test_a_broken_file_is_seen_as_pillow_sees_it_or_refused",
    "test_a_file_in_odd_order_is_seen_as_pillow_sees_it_or_refused",
    "test_a_hundred_tokens_share_the_last_ten_credits_of_their_key_exactly",
    "test_a_thousand_streams_cost_two_queries_in_two_seconds",
    "test_any_text_is_taken_or_refused_and_only_what_is_taken_leaves_a_row",
    "test_every_truncation_is_told_as_pillow_tells_it_or_refused",
    "test_fifty_at_once_of_one_user_hold_its_limit_exactly",
    "test_files_after_and_before_others_are_what_they_begin_as",
    "test_hundreds_of_slow_clients_do_not_keep_others_from_an_answer",
    "test_one_token_used_by_a_hundred_pages_at_once_makes_what_it_may",
    "test_two_thousand_lines_are_looked_up_in_four_statements",
}
_OF_TESTS: Final = {"process": _PROCESS_TESTS, "campaign": _CAMPAIGN_TESTS}
"""Single tests by those techniques; the other tests of their files use none."""

ON_BOTH: Final = {
    "dispatch/test_unknown",
    "following/test_cancel_races",
    "following/test_events",
    "following/test_permits",
    "generations/test_requests",
    "quotas/test_balances",
    "submit/test_idempotency",
    "submit/test_submit",
    "webhooks/test_replays",
}
"""Files of tests with `world` that `make test` runs on PostgreSQL too: they lock, count, number or page.

Tests that ask for a database without the gateway run on both, but for those of the files below."""

_DEEP_ON_POSTGRESQL: Final = {
    "admin/test_backup",
    "admin/test_disabling",
    "admin/test_reconcile",
    "admin/test_verify",
    "cli/test_admin_commands",
    "cli/test_commands",
    "cli/test_money_commands",
    "client_tokens/test_client_token_commands",
    "db/test_migrated_rows",
    "dispatch/test_any_failure",
    "following/test_following",
    "gateway/test_chaos_money",
    "gateway/test_every_event",
    "gateway/test_kill",
    "machine/test_machine",
    "mirror/test_any_failure",
    "mirror/test_kill",
    "queue/test_fair_over_time",
    "quotas/test_budget",
    "upstream/test_credentials",
    "webhooks/test_any_failure",
    "webhooks/test_kill",
}
"""Files without `world` whose PostgreSQL copy is deep: other tests ask both databases what these ask."""

_LONG: Final = {
    "test_a_link_that_ends_during_play_fails_at_the_next_range_and_a_new_one_goes_on",
    "test_no_call_of_a_page_takes_more_statements_for_a_large_company",
    "test_a_death_at_any_event_of_uploads_and_deletions_leaves_whole_files_or_none",
    "test_a_hundred_networks_that_fail_at_random_make_one_job_of_a_run_each",
    "test_nobody_is_refused_while_a_server_that_was_given_its_socket_is_restarted",
    "test_no_page_is_closed_to_anybody_or_too_wide_or_asks_too_often",
    "test_a_gateway_that_breaks_its_promise_is_caught",
    "test_an_error_that_nobody_foresaw_loses_doubles_and_miscounts_nothing",
    "test_ten_tenants_share_five_places_as_their_weights_say_though_one_floods",
    "test_any_history_makes_one_job_of_a_submit_and_leaves_right_books",
    "test_every_command_of_the_runbooks_runs",
    "test_any_history_of_a_queue_leaves_right_rows_and_books",
    "test_an_outage_of_ten_minutes_loses_doubles_and_reorders_nothing",
    "test_servers_are_replaced_one_by_one_there_and_back_and_no_submit_notices",
    "test_seven_of_ten_endpoints_hear_long_before_the_one_that_hangs_is_given_up",
    "test_the_library_for_javascript_accepts_every_delivery_also_while_a_secret_is_rotated",
}
"""Long searches that are deep as a whole: each guarantee that they look for has a test of its own or, where a
broken gateway has to be caught, the search that must catch it."""

_RARE_FILES: Final = {
    "console/test_company_in_full",
    "console/test_company_tasks",
    "console/test_player_of_bucket",
    "mirror/test_bucket",
    "operations/test_newcomer",
    "operations/test_prometheus",
    "operations/test_prometheus_faults",
    "operations/test_rolling_restarts",
    "quotas/test_random_histories",
}
_RARE: Final = {
    "test_a_death_at_any_event_of_uploads_and_deletions_leaves_whole_files_or_none",
    "test_a_hundred_networks_that_fail_at_random_make_one_job_of_a_run_each",
    "test_a_link_that_ends_during_play_fails_at_the_next_range_and_a_new_one_goes_on",
    "test_an_application_of_next_gives_tokens_makes_a_video_and_verifies_webhooks",
    "test_any_history_of_the_network_makes_one_job_one_charge_and_one_result",
    "test_usage_of_long_histories_is_the_sum_of_the_entries_on_postgresql",
}
"""Of the deep tests, those that take a minute of processor or install a large application."""
_PARTS_IN_CI: Final = 5
"""Of the ten parts of the campaign, its copy for PostgreSQL runs so many in CI, and all before a release."""

_PRODUCTS: Final = {
    "test_a_header_as_long_as_the_limit_is_read_and_a_longer_one_is_named",
    "test_however_a_server_does_ranges_the_facts_are_the_same",
    "test_however_a_server_serves_the_facts_are_the_same",
    "test_the_limit_that_waits_longest_is_told_and_all_that_refuse_are_listed",
    "test_the_seeds_rules_hold_at_their_very_edges_in_the_vendors_own_words",
    "test_what_fits_passes_and_the_next_leaves_no_trace",
}
"""Tests of every combination of several parameters. `make test` takes each value at least once: the n-th of
one parameter with the n-th of the others, where the shorter begin anew; all other combinations are deep."""

_FETCHING: Final = {
    "clients/test_python_wheel",
    "clients/test_typescript_examples",
    "console/test_sign_in_by_oidc",
    "contract/test_generated_clients",
    "contract/test_wheel",
    "sessions/test_oidc_provider",
}
"""Files that install packages; what they show of the contract, `contract/test_openapi` asks as rules, what
they show of the library, `clients/test_python_live` of its source, and what they show of signing in,
`sessions/test_oidc`."""

_REAL_TOOLS: Final = {
    "console/test_company",
    "console/test_company_in_full",
    "console/test_company_tasks",
    "operations/test_chart",
    "operations/test_collector",
    "operations/test_newcomer",
    "operations/test_prometheus",
    "operations/test_prometheus_faults",
    "operations/test_proxies",
    "operations/test_rolling_restarts",
}
"""Files that run whole programs for seconds: proxies, Prometheus, Helm, a browser at a server of a company's.
What these browsers see of the pages, `console/test_sites` sees of a gateway in its own process."""

_DEEP_FILES: Final = (
    _FETCHING
    | _REAL_TOOLS
    | {
        "console/test_copies",
        "contract/test_schemathesis",
        "contract/test_schemathesis_admin",
        "mirror/test_any_failure",
        "console/test_player_of_bucket",
        "mirror/test_bucket",
        "mirror/test_kill",
        "operations/test_restart",
    }
)
"""Beside those: a restart by systemd, which `operations/test_succession` makes by a successor; a browser at
the side panel, searches by Schemathesis for what `contract/test_responses` and `contract/test_openapi` ask as
rules, and the mirror under failures that `mirror/test_life` has one by one."""
_WHOLE_FILES: Final = {**_OF_FILES, "deep": _DEEP_FILES, "rare": _RARE_FILES}

_STORES: Final = {"seaweedfs", "rclone"}
"""Real servers of files, as values of a test: what they show of the protocol, the same tests show on disk."""

_OF_THE_PLAYGROUND: Final = {
    "test_a_complaint_stands_at_its_field",
    "test_a_job_goes_through_the_queue_to_a_playing_video",
    "test_a_limit_is_told_before_and_after",
    "test_no_state_is_closed_to_anybody",
    "test_the_form_is_made_of_the_models_schema",
    "test_the_page_is_under_a_policy_that_lets_nothing_else_in",
    "test_the_price_lies_over_no_input",
    "test_two_clicks_make_one_job_and_so_do_more_while_it_is_under_way",
    "test_without_a_network_it_is_one_job_all_the_same",
}
"""What `make test` tries of the playground in a browser; the rest of its matrix is deep."""

_USUAL_PAGE: Final[dict[str, object]] = {"color_scheme": "light", "size": (1280, 900)}
"""How a page looks where a test draws it in several ways; the other ways are deep."""


def mark(items: Iterable[pytest.Item]) -> None:
    """Give every test the markers of its techniques."""
    tests = list(items)
    copied = {_function(item) for item in tests if "sqlite" in _values(item)}
    costly = costs.known()
    surplus = _surplus([item for item in tests if _name(item) in _PRODUCTS])
    for item in tests:
        found = _techniques(item, has_copy=_function(item) in copied)
        if item.nodeid in surplus:
            found.add("deep")
        if costs.function(item.nodeid) in costly:
            found.add("costly")
        if not _STORES.isdisjoint(value for value in _values(item) if isinstance(value, str)):
            found |= {"deep", "rare"}
        if "deep" in found and _is_rare(item):
            found.add("rare")
        for name in sorted(found):
            item.add_marker(name)


def is_left_out(path: Path, expression: str) -> bool:
    """Whether `-m` chooses no test of a file, by what is known of the file alone: it is not imported then."""
    file = f"{path.parent.name}/{path.stem}"
    certain = {name for name, files in _WHOLE_FILES.items() if file in files}
    names = set(re.findall(r"\w+", expression)) - {"and", "or", "not"}
    if not certain or not names or not names <= MARKERS.keys():
        return False
    chosen = Expression.compile(expression)

    def is_chosen(marked: set[str]) -> bool:
        return chosen.evaluate(lambda name, /, **_: name in marked)

    others = MARKERS.keys() - certain
    sets = (more for count in range(len(others) + 1) for more in itertools.combinations(others, count))
    return not any(is_chosen(certain.union(more)) for more in sets)


def _surplus(products: list[pytest.Item]) -> set[str]:
    """The ids of tests whose values other combinations of the same test have already."""
    places: dict[tuple[str, str], list[str]] = {}  # in which order a parameter takes its values
    drawn: dict[str, list[tuple[list[str], int]]] = {}
    for item in products:
        for name, value in _named(item).items():
            if value in _DATABASES:
                continue
            values = places.setdefault((_function(item), name), [])
            if repr(value) not in values:
                values.append(repr(value))
            drawn.setdefault(item.nodeid, []).append((values, values.index(repr(value))))
    return {one for one, parameters in drawn.items() if not _is_even(parameters)}


def _is_even(parameters: list[tuple[list[str], int]]) -> bool:
    _, at = max(parameters, key=lambda parameter: len(parameter[0]))
    return all(place == at % len(values) for values, place in parameters if len(values) > 1)


def _name(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _named(item: pytest.Item) -> dict[str, object]:
    drawn = getattr(item, "callspec", None)
    return dict(drawn.params) if drawn is not None else {}


def _values(item: pytest.Item) -> list[object]:
    return list(_named(item).values())


def _techniques(item: pytest.Item, *, has_copy: bool) -> set[str]:
    fixtures = set(getattr(item, "fixturenames", ()))
    values = _values(item)
    file = f"{item.path.parent.name}/{Path(item.path).stem}"
    found = set()
    if fixtures & _POSTGRESQL_FIXTURES or "postgresql" in values:
        found.add("postgresql")
    if fixtures & _PROCESS_FIXTURES:
        found.add("process")
    if "browser" in fixtures:
        found.add("browser")
    found |= {name for name, files in _OF_FILES.items() if file in files}
    found |= {name for name, tests in _OF_TESTS.items() if _name(item) in tests}
    if _is_deep(item, file, fixtures, has_copy=has_copy and "postgresql" in values):
        found.add("deep")
    return found


def _part(named: Mapping[str, object]) -> int:
    """Which part of a campaign that is split a test is; 0 also where there are none."""
    part = named.get("part")
    return part if isinstance(part, int) else 0


def _is_rare(item: pytest.Item) -> bool:
    named = _named(item)
    if _part(named) >= _PARTS_IN_CI and "postgresql" in _values(item):
        return True
    if named.get("color_scheme") == "dark" and _name(item) == "test_no_state_is_closed_to_anybody":
        return True
    return _name(item) in _RARE or f"{item.path.parent.name}/{Path(item.path).stem}" in _RARE_FILES


def _is_deep(item: pytest.Item, file: str, fixtures: set[str], *, has_copy: bool) -> bool:
    named = _named(item)
    if _part(named):
        return True
    function = _name(item)
    if function in _LONG or file in _DEEP_FILES:
        return True
    if "browser" in fixtures:
        is_usual = all(named.get(name, usual) == usual for name, usual in _USUAL_PAGE.items())
        is_of_the_playground = file.startswith("console/test_playground")
        return not is_usual or (is_of_the_playground and function not in _OF_THE_PLAYGROUND)
    if not has_copy or file in ON_BOTH:
        return False
    return "world" in fixtures or file in _DEEP_ON_POSTGRESQL
