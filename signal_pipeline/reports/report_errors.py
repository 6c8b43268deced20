"""The errors of a report that is refused.

ReportError
├── QuestionError         the question makes no sense, whatever is stored
│   └── UnknownFilterError    a filter has a value that no event can have
└── PurgedError           raw events of the window are gone

A window that ends before it begins is a WindowError of `days/calendar.py`.
"""

from __future__ import annotations

from signal_pipeline.errors import SignalError, UsageError


class ReportError(SignalError):
    """A report that cannot be right is refused; the text says why and what to ask instead."""


class QuestionError(ReportError, UsageError):
    """A question that makes no sense, whatever is stored. The exit code is 2."""


class UnknownFilterError(QuestionError):
    """A filter has a value that no event can have."""


class PurgedError(ReportError):
    """Raw events of the window are gone, so a count of what is left would be too low."""
