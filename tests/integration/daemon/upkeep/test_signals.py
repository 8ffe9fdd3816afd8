"""Handlers of signals in an event loop."""

from __future__ import annotations

import asyncio
import os
import signal

from tuned.daemon.upkeep.signals import handled


async def test_a_signal_is_handled_in_the_block_and_as_before_behind_it() -> None:
    came = asyncio.Event()
    before = signal.getsignal(signal.SIGHUP)
    with handled({signal.SIGHUP: came.set}):
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(60):
            await came.wait()
    assert signal.getsignal(signal.SIGHUP) is before
