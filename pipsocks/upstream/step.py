"""The step at one hop: run a codec on a connection, then step aside for the protocol that wants the tunnel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol as Seam

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.endpoints import _WrappingFactory  # noqa: F401
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.model import Transport
