"""The assets, one module per asset or family of assets."""

import warnings

# Dagster reminds its users that these features are beta. Its version is pinned, so nobody needs the
# reminders, which would come before the output of every command.
for name in (
    "Parameter `backfill_policy`",
    "Class `LocalFileCodeReference`",
    "Class `CodeReferencesMetadataValue`",
):
    warnings.filterwarnings("ignore", message=name)
