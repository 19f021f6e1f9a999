"""The live page's socket."""

import asyncio
import contextlib
import time
import uuid
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from batches.live import messages
from batches.live.open_sockets import OPEN_SOCKETS, OpenSocket
from batches.live.plan_tables import recent_answers
from batches.live.snapshot import plan_snapshot
from batches.live.updates import FRAME_EVENTS, TAILER, Client
from plans.log_in.session_life import has_ended
from plans.models import Event, Plan, User

NOT_LOGGED_IN = 4401
NOT_ALLOWED = 4403
TOO_MANY = 4429
RECHECK_SECONDS = 30.0


class LivePlanConsumer(AsyncJsonWebsocketConsumer):
    """Sends one plan's news from `since` on; `{"type": "snapshot"}` asks for the whole picture.

    Closes with 4401 for nobody, and with 4403 for people who may not see the plan as for a plan
    that there is not, after accepting: only then does a browser learn the code. With 4429 when the
    person has too many open already. Asked again every 30 s, and ended with the session.
    """

    client: Client | None = None
    pump: asyncio.Task[None] | None = None
    place: OpenSocket | None = None

    async def connect(self) -> None:
        """Check the person, then send what was missed and everything new."""
        await self.accept()
        self.plan_id: uuid.UUID = self.scope["url_route"]["kwargs"]["plan_id"]
        if refusal := await self._refusal():
            await self.close(code=refusal)
            return
        place = OpenSocket(self.scope["user"].pk, self._session_key(), self._log_out)
        if not OPEN_SOCKETS.add(place):
            await self.close(code=TOO_MANY)
            return
        self.place = place
        client = self.client = Client(self.plan_id, asyncio.get_running_loop())
        # Joined before the past is read: whatever is committed in between comes twice, never not.
        await sync_to_async(TAILER.join)(client)
        since = self._since()
        first = await (self._snapshot() if since is None else self._missed(since))
        await self.send(text_data=first)
        self.pump = asyncio.create_task(self._pump(client))

    async def disconnect(self, code: int) -> None:
        """Leave the registries."""
        if self.place is not None:
            OPEN_SOCKETS.remove(self.place)
        if self.pump is not None:
            self.pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.pump
        if self.client is not None:
            TAILER.leave(self.client)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Answer a wish for a snapshot; everything else is not understood and closes."""
        if content == {"type": "snapshot"} and self.client is not None:
            await self.send(text_data=await self._snapshot())
        else:
            await self.close(code=1003)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Return the message, None for text that is no JSON."""
        try:
            return await super().decode_json(text_data)
        except ValueError:
            return None

    async def _pump(self, client: Client) -> None:
        checked = time.monotonic()
        while True:
            frame = await client.next_frame()
            if time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                if refusal := await self._refusal():
                    await self.close(code=refusal)
                    return
            await self.send(text_data=frame)

    async def _log_out(self) -> None:
        await self.close(code=NOT_LOGGED_IN)

    def _session_key(self) -> str | None:
        return getattr(self.scope.get("session"), "session_key", None)

    def _since(self) -> int | None:
        given = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))
        word = given.get("since", [""])[0]
        return int(word) if word.isascii() and word.isdigit() else None

    @sync_to_async
    def _refusal(self) -> int | None:
        person = self.scope.get("user", AnonymousUser())
        if not isinstance(person, User):
            return NOT_LOGGED_IN
        # Fetched again: rights and accounts end while pages stay open.
        user = User.objects.filter(pk=person.pk, is_active=True).first()
        if user is None or not self._session_holds(user):
            return NOT_LOGGED_IN
        seen = Plan.objects.visible_to(user).filter(pk=self.plan_id).exists()
        return None if seen else NOT_ALLOWED

    def _session_holds(self, user: User) -> bool:
        """Tell whether the session by which the socket came is there still, and still theirs."""
        session = self.scope.get("session")
        if session is None:
            return True
        kept = type(getattr(session, "_wrapped", session))(self._session_key())
        theirs = kept.get(SESSION_KEY) == str(user.pk)
        # A new password ends the sessions of the old one.
        same = constant_time_compare(kept.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
        # A page that only listens must not outlive what any click of it would end.
        return theirs and same and not has_ended(kept, now=timezone.now())

    @sync_to_async
    def _snapshot(self) -> str:
        return messages.frame([{"type": "snapshot", **plan_snapshot(self.plan_id)}])

    @sync_to_async
    def _missed(self, since: int) -> str:
        rows = list(
            Event.objects.told_of(Plan(pk=self.plan_id))
            .filter(seq__gt=since)
            .order_by("seq")[: FRAME_EVENTS + 1]
        )
        if len(rows) > FRAME_EVENTS:
            return messages.frame([messages.gap()])
        missed = [messages.event(row) for row in rows]
        # Answers have no sequence: those that came since the page was made are among the newest.
        if newest := recent_answers(self.plan_id)[::-1]:
            missed.append({"type": "answers", "answers": newest})
        return messages.frame(missed)
