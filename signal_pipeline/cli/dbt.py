"""The command that describes Signal's views for dbt: `dbt-sources`."""

from __future__ import annotations

import sys

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.settings import load_settings


def dbt_sources() -> None:
    """Print a sources.yml of the views in signal_reporting, for a dbt project.

    Print it again after an upgrade, and after a change of the models or of the catalogue. The
    command needs no database.
    """
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.schema.dbt_sources import sources_yml

    settings = load_settings()
    text = sources_yml(load_models(), load_catalogue(settings.catalogue), settings.asset_key_prefix)
    sys.stdout.write(text)
