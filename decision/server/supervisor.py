"""The supervisor of several workers: starts them again, says how each ended, leaves none behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from time import monotonic
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from decision.observability import get_logger
from decision.server.lifeline import end_with_supervisor
from decision.server.shared_folder import SHARED_FOLDER, SharedFolder
from decision.server.watching import terminal_is_gone
from decision.store.redis_watch import how_it_ended

_LIVES: Final = 60.0
"""Seconds after which a worker that was started counts as one that lives."""
_LONGEST_PAUSE: Final = 30.0

_log = get_logger()


class _Server(uvicorn.Server):
    """uvicorn's server, which notes when its event loop last turned."""

    turned = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Runs ten times a second while it serves."""
        self.turned = monotonic()
        return await super().on_tick(counter)


class Worker(Process):
    """A worker that ends with its supervisor, and answers it only while its event loop turns."""

    _server: _Server | None

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.since = monotonic()
        self.pause = 0.0
        """Seconds to wait before the next one is started, should this one end."""
        self.ended_at: float | None = None

    @property
    def server(self) -> _Server:
        """The server of this worker's process."""
        if self._server is None:
            self._server = _Server(self.config)
        return self._server

    def pong(self) -> None:
        """Answers one question of the supervisor, in a thread."""
        self.child_conn.recv()
        hung = monotonic() - self.server.turned > self.config.timeout_worker_healthcheck
        if not (self.server.started and hung):
            self.child_conn.send(self.server.started)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in the worker's process."""
        end_with_supervisor(self.config.timeout_graceful_shutdown or 0)
        super().target(sockets)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, with a line in the log for each worker that ends.

    A worker that ends soon after its start is started again after a growing pause. SIGHUP is a
    reload, and not a restart of the workers.
    """

    failed = False
    """Whether a worker could not start at all, which ends the server."""

    def init_processes(self) -> None:
        """Starts the workers."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def keep_subprocess_alive(self) -> None:
        """Starts those again that have ended or do not answer."""
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            assert isinstance(worker, Worker)
            if worker.ended_at is None:
                if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                self._bury(worker)
                if self.failed:
                    self.should_exit.set()
                    return
            if monotonic() - (worker.ended_at or 0.0) >= worker.pause:
                again = self._started()
                again.pause = min(max(1.0, 2 * worker.pause), _LONGEST_PAUSE)
                self.processes[index] = again
                _log.info("worker_started", pid=again.pid, instead_of=worker.pid)

    def _bury(self, worker: Worker) -> None:
        """Says how a worker has ended; one that only does not answer is killed first."""
        hung = worker.process.is_alive()
        worker.kill()
        worker.join()
        worker.ended_at = monotonic()
        first = worker.pause == 0.0
        if worker.ended_at - worker.since > _LIVES:
            worker.pause = 0.0
        elif worker.exitcode == STARTUP_FAILURE and first:
            self.failed = True  # it would fail in the same way again
        _log.error(
            "worker_hung" if hung else "worker_ended",
            pid=worker.pid,
            **how_it_ended(worker.exitcode),
            **({} if self.failed else {"next_start_s": worker.pause}),
        )

    def handle_hup(self) -> None:
        """Asks the workers for a reload; ends them where our terminal has been closed."""
        if terminal_is_gone():
            self.handle_term()
        else:
            SharedFolder(Path(os.environ[SHARED_FOLDER])).ask("SIGHUP")

    def handle_ttin(self) -> None:
        """Adds a worker."""
        self.processes_num += 1
        self.processes.append(self._started())

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker
