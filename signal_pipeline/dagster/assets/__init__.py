"""The assets. One module per asset or family of assets."""

import warnings

# The version of Dagster is pinned; its reminders that these are beta would stand in front of every
# command.
for name in (
    "Parameter `backfill_policy`",
    "Class `LocalFileCodeReference`",
    "Class `CodeReferencesMetadataValue`",
):
    warnings.filterwarnings("ignore", message=name)
