"""The peer of the ingest benchmark: what a good team writes with FastAPI and SQLAlchemy.

Durable (WAL, synchronous=FULL), deduplicated by request id, rolled up by hour. With
`PEER_PRICES=1` each event is priced by genai-prices as it arrives.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from decimal import Decimal
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import create_engine, event, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PRICED = os.environ.get("PEER_PRICES") == "1"
if PRICED:
    from genai_prices import Usage, calc_price


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "event"
    request_id: Mapped[str] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime]
    provider: Mapped[str]
    model: Mapped[str]
    tenant_id: Mapped[str]
    team: Mapped[str]
    user_id: Mapped[str]
    latency_ms: Mapped[int]
    input_tokens: Mapped[int]
    cache_read_tokens: Mapped[int]
    output_tokens: Mapped[int]
    nano: Mapped[int | None]


class Hour(Base):
    __tablename__ = "hour"
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    nano: Mapped[int]


class Tokens(BaseModel):
    input: int = 0
    cache_read: int = 0
    output: int = 0


class UsageIn(BaseModel):
    request_id: str
    timestamp: datetime
    provider: str
    model: str
    tenant_id: str = "default"
    team: str = ""
    user_id: str = ""
    feature: str = ""
    latency_ms: int = 0
    tokens: Tokens


engine = create_engine(f"sqlite:///{os.environ['PEER_DB']}")


@event.listens_for(engine, "connect")
def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


Base.metadata.create_all(engine)
app = FastAPI()


@app.get("/-/ready")
async def ready() -> str:
    return "ready"


@app.post("/api/v1/usage")
async def usage(events: list[UsageIn]) -> dict[str, int]:
    rows = [
        {
            "request_id": item.request_id,
            "timestamp": item.timestamp,
            "provider": item.provider,
            "model": item.model,
            "tenant_id": item.tenant_id,
            "team": item.team,
            "user_id": item.user_id,
            "latency_ms": item.latency_ms,
            "input_tokens": item.tokens.input,
            "cache_read_tokens": item.tokens.cache_read,
            "output_tokens": item.tokens.output,
            "nano": _nano(item) if PRICED else None,
        }
        for item in events
    ]
    with Session(engine) as session:
        known = set(
            session.scalars(
                text(
                    "SELECT request_id FROM event "
                    "WHERE request_id IN (SELECT value FROM json_each(:ids))"
                ),
                {"ids": json.dumps([row["request_id"] for row in rows])},
            )
        )
        fresh = [row for row in rows if row["request_id"] not in known]
        sums: dict[tuple[datetime, str, str], list[int]] = {}
        for row in fresh:
            key = (
                row["timestamp"].replace(minute=0, second=0, microsecond=0),
                row["tenant_id"],
                row["model"],
            )
            total = sums.setdefault(key, [0, 0, 0, 0])
            total[0] += 1
            total[1] += row["input_tokens"] + row["cache_read_tokens"]
            total[2] += row["output_tokens"]
            total[3] += row["nano"] or 0
        if fresh:
            session.execute(insert(Event).on_conflict_do_nothing(), fresh)
            statement = insert(Hour)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["hour", "tenant_id", "model"],
                    set_={
                        name: getattr(Hour, name) + statement.excluded[name]
                        for name in ("requests", "input_tokens", "output_tokens", "nano")
                    },
                ),
                [
                    {
                        "hour": hour,
                        "tenant_id": tenant,
                        "model": model,
                        "requests": total[0],
                        "input_tokens": total[1],
                        "output_tokens": total[2],
                        "nano": total[3],
                    }
                    for (hour, tenant, model), total in sums.items()
                ],
            )
        session.commit()
    return {"accepted": len(fresh), "duplicate": len(rows) - len(fresh)}


def _nano(item: UsageIn) -> int:
    tokens = item.tokens
    price = calc_price(
        Usage(
            input_tokens=tokens.input + tokens.cache_read,
            cache_read_tokens=tokens.cache_read,
            output_tokens=tokens.output,
        ),
        item.model,
        provider_id=item.provider,
        genai_request_timestamp=item.timestamp,
    )
    return int(price.total_price * Decimal(10**9))
