"""Starting a subprocess on a loop."""

from __future__ import annotations

import asyncio

from .._base_loop import BaseLoop
from .._subprocess import Children, SubprocessTransport, uses_child_watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SubprocessMethods"]


class SubprocessMethods(BaseLoop):
    """What ``subprocess_exec`` and ``subprocess_shell`` call."""

    _children: Children

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        pipes = (stdin, stdout, stderr, bufsize)
        if uses_child_watcher(self):
            watched: asyncio.SubprocessTransport = await super()._make_subprocess_transport(
                protocol, args, shell, *pipes, extra, **kwargs
            )
            return watched
        waiter = self.create_future()
        transport = SubprocessTransport(self, protocol, args, shell, *pipes, waiter=waiter, extra=extra, **kwargs)
        try:
            self._children.watch(transport)
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await asyncio.shield(transport._wait())
            raise
        finally:
            # The waiter holds the exception, whose traceback holds this frame: without `del`, a reference cycle.
            del waiter
        return transport
