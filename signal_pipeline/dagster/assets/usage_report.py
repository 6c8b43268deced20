"""The asset `usage_report`: a page of each ISO week, from the rollups, for people without Dagster.

This module decides when the page is written and what the UI shows of it. `reports/page/` makes the
page.

Docs: docs/data-team.md.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.dagster.assets.charts import markdown_table
from signal_pipeline.dagster.assets.pictures import drawn
from signal_pipeline.dagster.names import USAGE_REPORT, Names
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import load_settings

if TYPE_CHECKING:  # Loading definitions must be fast: only a run imports what makes the page.
    from signal_pipeline.reports.page.facts import Facts

MONDAY = 1  # Dagster's `day_offset` counts from Sunday.
DAYS = 7


def build_weeks(days: dg.DailyPartitionsDefinition) -> dg.WeeklyPartitionsDefinition:
    """Return a partition for each whole ISO week (UTC) of `days`, named by its Monday.

    A week gets its partition once the week is over.
    """
    return dg.WeeklyPartitionsDefinition(start_date=days.start, timezone="UTC", day_offset=MONDAY)


def build_usage_report_asset(
    models: Models, names: Names, weeks: dg.WeeklyPartitionsDefinition
) -> dg.AssetsDefinition:
    """Return the asset of the weekly page, which is downstream of every rollup."""

    @dg.asset(
        key=names.key(USAGE_REPORT),
        deps=[names.key(name) for name in models],
        group_name="reports",
        partitions_def=weeks,
        owners=["team:data"],
        kinds={"html"},
    )
    def usage_report(
        context: dg.AssetExecutionContext, postgres: PostgresResource
    ) -> dg.MaterializeResult[None]:
        """One HTML file of an ISO week: each app's features, people a day, routes and devices.

        The page loads nothing, so it can be sent as it is. Small cells are left out. The page is
        written into `SIGNAL_HOME/reports`, where the newest 53 are kept; a second run replaces the
        file.
        """
        # Imported here, because only this asset needs the template engine.
        from signal_pipeline.reports.page.drawing import check_drawing
        from signal_pipeline.reports.page.facts import read_facts
        from signal_pipeline.reports.page.files import keep_page
        from signal_pipeline.reports.page.render import render

        check_drawing()
        settings = load_settings()
        first = date.fromisoformat(context.partition_key)
        last = first + timedelta(days=DAYS - 1)
        facts = read_facts(postgres.database(), models, first, last)
        html = render(facts, load_catalogue(settings.catalogue))
        try:
            path = keep_page(settings.home_path, first, last, html)
        except OSError as error:
            raise dg.Failure(
                f"the page cannot be written: {error.strerror or type(error).__name__}"
            ) from None
        context.log.info("the page of %s to %s: %s", first, last, path)
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.path(path),
                "link": dg.MetadataValue.url(path.as_uri()),
                **drawn(context.log, USAGE_REPORT, first, {"summary": lambda: _summary(facts)}),
                **_notes(facts),
                "bytes": len(html.encode()),
            }
        )

    return usage_report


def _summary(facts: "Facts") -> str:
    from signal_pipeline.reports.page.split import people_bounds

    split = facts.splits["app"]
    rows = []
    for app in sorted(split.apps(), key=lambda app: -split.count(app).events):
        count, people = split.count(app), split.people(app)
        events = f"at least {count.events:,}" if count.is_lower_bound else f"{count.events:,}"
        median, most = people_bounds(count.doubts.keys())
        rows.append((app, events, _people(people.median, median), _people(people.most, most)))
    columns = ("app", "events", "people, median day", "people, busiest day")
    return markdown_table(columns, rows)


def _people(count: float | None, bound: str) -> str:
    if count is None:
        return "not shown"
    return f"{bound} {count:,.1f}".removesuffix(".0").strip()


def _notes(facts: "Facts") -> dict[str, Any]:
    return {"notes": list(facts.notes)} if facts.notes else {}
