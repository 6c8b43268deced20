"""The questions of analysts, answered from rollups or from raw events."""
