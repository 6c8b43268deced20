"""The original plan: SQLAlchemy's ORM, with one INSERT and one commit per event.

It has one table with a unique key and three indexes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Engine, Index, LargeBinary, Text, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from signal_pipeline.events.event import AcceptedEvent


class Base(DeclarativeBase):
    """The tables of this peer."""


class PlainEvent(Base):
    """An event as one row of one table."""

    __tablename__ = "plain_events"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    app_name: Mapped[str] = mapped_column(Text)
    event_type: Mapped[str] = mapped_column(Text)
    route: Mapped[str | None] = mapped_column(Text)
    entity_type: Mapped[str | None] = mapped_column(Text)
    entity_id: Mapped[str | None] = mapped_column(Text)
    user_hash: Mapped[bytes] = mapped_column(LargeBinary)
    session_id: Mapped[uuid.UUID | None]
    device_type: Mapped[str] = mapped_column(Text)
    browser_family: Mapped[str] = mapped_column(Text)
    os_family: Mapped[str] = mapped_column(Text)
    client_event_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    description: Mapped[Any | None] = mapped_column(JSONB)
    __table_args__ = (
        Index("plain_app", "app_name", "event_type", "created_at"),
        Index("plain_entity", "entity_type", "entity_id", "created_at"),
        Index("plain_user", "user_hash", "created_at"),
    )


def open_engine(url: str) -> Engine:
    """Return an engine with the peer's table, empty."""
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), hide_parameters=True
    )
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    return engine


def values(event: AcceptedEvent) -> dict[str, Any]:
    """Return an event's columns."""
    return {
        "id": uuid.uuid4(),
        "created_at": event.created_at,
        "app_name": event.app_name,
        "event_type": event.event_type,
        "route": event.route,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "user_hash": event.user_hash,
        "session_id": uuid.UUID(event.session_id) if event.session_id else None,
        "device_type": event.device_type,
        "browser_family": event.browser_family,
        "os_family": event.os_family,
        "client_event_id": uuid.UUID(event.client_event_id),
        "description": None,
    }


def insert(engine: Engine, events: Sequence[AcceptedEvent]) -> None:
    """Insert one row, with one commit, per event."""
    with Session(engine) as session:
        for event in events:
            session.add(PlainEvent(**values(event)))
            session.commit()


def empty(engine: Engine) -> None:
    """Remove all rows."""
    with engine.begin() as connection:
        connection.execute(text("truncate plain_events"))
