"""The notification server that a developer writes in an afternoon with Strawberry and SQLModel, by their documentation.

Its API is the part of Tocsin's that the benchmarks ask for, so that both get the very same requests. It has signed
tokens, a list by cursor, projects with members, and live events by broadcaster; nothing is delivered anywhere.
It must not import anything of Tocsin's.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import jwt
import strawberry
import uvicorn
from broadcaster import Broadcast
from sqlalchemy import JSON, DateTime, event, func
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, Index, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.permission import BasePermission

SECRET = os.environ.get("SECRET", "")
engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///stock.db"))
broadcast = Broadcast(os.environ.get("BROADCAST_URL", "memory://"))


@event.listens_for(engine.sync_engine, "connect")
def _configure(connection: Any, _record: Any) -> None:
    if engine.dialect.name == "sqlite":
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 30000")


@strawberry.enum
class NotificationType(Enum):
    INFO = "INFO"
    ERROR = "ERROR"
    SUCCESS = "SUCCESS"
    WARNING = "WARNING"


@strawberry.enum
class NotificationLevel(Enum):
    ALL = "ALL"
    LV1 = "LV1"
    LV2 = "LV2"
    LV3 = "LV3"
    LV4 = "LV4"
    LV5 = "LV5"


class NotificationRow(SQLModel, table=True):
    __tablename__ = "notification"
    __table_args__ = (
        Index("notification_by_user", "user_id", "created_at", "notification_id"),
        Index("notification_unread", "user_id", "is_read"),
    )

    notification_id: str = Field(default_factory=lambda: f"notification-{uuid.uuid4().hex[:12]}", primary_key=True)
    user_id: str
    topic: str
    message: Any = Field(sa_type=JSON)
    notification_type: NotificationType
    notification_level: NotificationLevel
    is_read: bool = False
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True))


class ProjectMember(SQLModel, table=True):
    __tablename__ = "project_member"

    project_id: str = Field(primary_key=True)
    user_id: str = Field(primary_key=True)


@strawberry.type
class Notification:
    notification_id: strawberry.ID
    topic: str
    message: strawberry.scalars.JSON
    notification_type: NotificationType
    notification_level: NotificationLevel
    is_read: bool
    created_at: datetime

    @classmethod
    def from_row(cls, row: NotificationRow) -> Notification:
        return cls(
            notification_id=strawberry.ID(row.notification_id),
            topic=row.topic,
            message=strawberry.scalars.JSON(row.message),
            notification_type=row.notification_type,
            notification_level=row.notification_level,
            is_read=row.is_read,
            created_at=row.created_at,
        )

    @classmethod
    def from_json(cls, text: str) -> Notification:
        """As it is broadcast."""
        return cls.from_row(NotificationRow.model_validate(json.loads(text)))


@strawberry.type
class FeedEvent:
    notification: Notification


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: strawberry.ID | None


@strawberry.type
class NotificationConnection:
    nodes: list[Notification]
    page_info: PageInfo


@strawberry.type
class Inbox:
    unread_count: int


@strawberry.input
class CreateNotificationInput:
    resource_type: str
    resource_id: strawberry.ID
    topic: str
    message: strawberry.scalars.JSON
    notification_type: NotificationType = NotificationType.INFO
    notification_level: NotificationLevel = NotificationLevel.ALL


@strawberry.type
class CreateNotificationPayload:
    notification: Notification


class IsAuthenticated(BasePermission):
    message = "User is not authenticated"

    def has_permission(self, source: Any, info: strawberry.Info, **_arguments: Any) -> bool:
        """Puts the token's user into the context."""
        context = info.context
        parameters = context.get("connection_params") or {}
        authorization = context["request"].headers.get("authorization") or parameters.get("Authorization", "")
        try:
            claims = jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return False
        context["user_id"] = claims["sub"]
        return True


PROTECTED: list[type[BasePermission]] = [IsAuthenticated]


@strawberry.type
class Query:
    @strawberry.field(permission_classes=PROTECTED)
    async def notification(self, info: strawberry.Info, notification_id: strawberry.ID) -> Notification | None:
        async with AsyncSession(engine) as session:
            row = await session.get(NotificationRow, notification_id)
        return Notification.from_row(row) if row and row.user_id == info.context["user_id"] else None

    @strawberry.field(permission_classes=PROTECTED)
    async def notifications(
        self, info: strawberry.Info, first: int = 20, after: strawberry.ID | None = None
    ) -> NotificationConnection:
        statement = select(NotificationRow).where(NotificationRow.user_id == info.context["user_id"])
        async with AsyncSession(engine) as session:
            if after and (last := await session.get(NotificationRow, after)):
                statement = statement.where(col(NotificationRow.created_at) < last.created_at)
            newest = statement.order_by(col(NotificationRow.created_at).desc()).limit(first + 1)
            rows = (await session.exec(newest)).all()
        nodes = [Notification.from_row(row) for row in rows[:first]]
        page_info = PageInfo(has_next_page=len(rows) > first, end_cursor=nodes[-1].notification_id if nodes else None)
        return NotificationConnection(nodes=nodes, page_info=page_info)

    @strawberry.field(permission_classes=PROTECTED)
    async def inbox(self, info: strawberry.Info) -> Inbox:
        statement = select(func.count()).select_from(NotificationRow)
        mine, unread = NotificationRow.user_id == info.context["user_id"], col(NotificationRow.is_read).is_(False)
        async with AsyncSession(engine) as session:
            return Inbox(unread_count=(await session.exec(statement.where(mine, unread))).one())


@strawberry.type
class Mutation:
    @strawberry.mutation(permission_classes=PROTECTED)
    async def create_notification(self, input: CreateNotificationInput) -> CreateNotificationPayload:
        """To a user; or to a project, and to each of its members."""
        first = NotificationRow(user_id=input.resource_id, **_content(input))
        rows = [first]
        async with AsyncSession(engine, expire_on_commit=False) as session:
            if input.resource_type == "identity.Project":
                members = select(ProjectMember.user_id).where(ProjectMember.project_id == input.resource_id)
                rows += [NotificationRow(user_id=user_id, **_content(input)) for user_id in await session.exec(members)]
            session.add_all(rows)
            await session.commit()
        for row in rows:
            await broadcast.publish(channel=row.user_id, message=row.model_dump_json())
        return CreateNotificationPayload(notification=Notification.from_row(first))

    @strawberry.mutation(permission_classes=PROTECTED)
    async def add_project_members(self, project_id: strawberry.ID, user_ids: list[strawberry.ID]) -> int:
        async with AsyncSession(engine) as session:
            session.add_all(ProjectMember(project_id=project_id, user_id=user_id) for user_id in user_ids)
            await session.commit()
        return len(user_ids)


def _content(input: CreateNotificationInput) -> dict[str, Any]:
    return {
        "topic": input.topic,
        "message": input.message,
        "notification_type": input.notification_type,
        "notification_level": input.notification_level,
    }


@strawberry.type
class Subscription:
    @strawberry.subscription(permission_classes=PROTECTED)
    async def notification_created(self, info: strawberry.Info) -> AsyncGenerator[Notification, None]:
        async with broadcast.subscribe(channel=info.context["user_id"]) as subscriber:
            async for event in subscriber:  # type: ignore[union-attr]
                yield Notification.from_json(event.message)  # type: ignore[union-attr]

    @strawberry.subscription(permission_classes=PROTECTED)
    async def notification_feed(
        self, info: strawberry.Info, project_id: strawberry.ID
    ) -> AsyncGenerator[FeedEvent, None]:
        async with broadcast.subscribe(channel=project_id) as subscriber:
            async for event in subscriber:  # type: ignore[union-attr]
                yield FeedEvent(notification=Notification.from_json(event.message))  # type: ignore[union-attr]


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with broadcast:
        yield


schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    extensions=[ParserCache, ValidationCache],  # what the documentation has for speed
)
graphql: GraphQL[Any, None] = GraphQL(schema)
app = Starlette(lifespan=lifespan, routes=[Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
