"""What the fork server says about a daemon that was killed: nothing.

Only the fork server imports this, and its children inherit it. A child to which a daemon was
just writing its call finds half of it, which the standard library would tell in a traceback.
"""

from __future__ import annotations

import sys
from pickle import UnpicklingError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_CUT_SHORT = (BrokenPipeError, ConnectionResetError, EOFError, UnpicklingError)


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, _CUT_SHORT):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell
