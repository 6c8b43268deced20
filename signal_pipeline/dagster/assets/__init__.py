"""The assets, one module per asset or family of assets."""

import warnings

# The version of Dagster is pinned, and its reminders that these are beta would come before the
# output of every command.
for name in (
    "Parameter `backfill_policy`",
    "Class `LocalFileCodeReference`",
    "Class `CodeReferencesMetadataValue`",
):
    warnings.filterwarnings("ignore", message=name)
