"""Sending pieces: again while the daemon is busy or away, smaller ones where it minds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.api import Reply
    from retuned.backfill.bookmark import Tally
    from retuned.backfill.piece import Piece

OK, BAD, TOO_LARGE, REFUSED = 200, 400, 413, 422
PASSING = {429, 502, 503, 504, 507}

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
PATIENCE_S = 60.0
_HOPELESS = 20


class Sender:
    """Sends pieces to a daemon, and counts what becomes of them."""

    def __init__(
        self,
        post: Callable[[bytes, str], Reply],
        tally: Tally,
        *,
        wait: Callable[[float], None],
    ) -> None:
        """Take what it needs.

        Args:
            post: sends bytes of a content type, see `Api.send`; raises Unreachable.
            tally: is added to.
            wait: waits for so many seconds.
        """
        self._post = post
        self._tally = tally
        self._wait = wait

    def send(self, piece: Piece) -> None:
        """Send a piece until the daemon has answered for every record in it.

        Raises:
            Unreachable: nobody answered for a minute.
            TransientError: the daemon was busy for a minute.
            PermanentError: there is no such model, or nothing that is sent can be read.
        """
        reply = self._reply(piece)
        if reply.status == OK or (reply.status == REFUSED and "rejected" in reply.body):
            self._tally.add(reply.body, piece.first)
            self._tally.sent += len(piece)
        elif reply.status in {BAD, TOO_LARGE} and len(piece) > 1:
            # One record cannot be read, or all are too many; most get through in halves.
            for half in piece.halves():
                self.send(half)
        elif reply.status in {BAD, TOO_LARGE}:
            self._tally.refuse(piece.first, _told(reply))
            self._tally.sent += 1
            if self._tally.rejected == self._tally.sent == _HOPELESS:
                message = f"nothing of it can be read; the first: {self._tally.reasons[0]}"
                raise PermanentError(message)
        else:
            raise PermanentError(_told(reply))

    def _reply(self, piece: Piece) -> Reply:
        """The daemon's answer, when it has one."""
        content, kind = piece.body()
        pause, waited = FIRST_PAUSE_S, 0.0
        while True:
            trouble: Unreachable | TransientError
            try:
                reply = self._post(content, kind)
            except Unreachable as error:
                trouble, wish = error, None
            else:
                if reply.status not in PASSING:
                    return reply
                trouble, wish = TransientError(_told(reply)), reply.retry_after
            if waited >= PATIENCE_S:
                raise trouble
            now = min(LONGEST_PAUSE_S, pause if wish is None else max(wish, FIRST_PAUSE_S))
            self._wait(now)
            pause, waited = pause * 2, waited + now


def _told(reply: Reply) -> str:
    return str(reply.body.get("detail", f"the daemon answered {reply.status}"))
