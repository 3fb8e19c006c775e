"""Asks one async hook of a plugin, and contains whatever it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any


async def asked(function: Callable[..., Any], arguments: Mapping[str, Any], patience: float) -> Any:
    """What the plugin answers within `patience` seconds. Raises what it raises, or TimeoutError.

    It runs in a task of its own, since it may cancel that, or never let go of it.
    """
    task = asyncio.create_task(contained(function, arguments))
    try:
        await asyncio.wait([task], timeout=patience)
    finally:
        task.cancel()
    if not task.done():
        raise TimeoutError(f"no answer within {patience} s")
    if task.cancelled():
        raise RuntimeError("it cancelled itself")
    return task.result()


async def contained(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """A plugin that calls `sys.exit()` has failed; it does not end the server."""
    try:
        return await function(**arguments)
    except SystemExit as error:
        raise RuntimeError("it called sys.exit()") from error
