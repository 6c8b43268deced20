"""The assets. One module per asset or family of assets."""

import warnings

# The version of Dagster is pinned; its reminder that `backfill_policy` is beta would stand in front of every command.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
