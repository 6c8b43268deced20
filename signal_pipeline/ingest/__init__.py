"""The one way in, where files, the landing and the API's batches are checked, hashed and stored."""

from signal_pipeline.ingest.pipeline import Counts, CutShortError, Ingest

__all__ = ["Counts", "CutShortError", "Ingest"]
