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

from decision.children import how_it_ended
from decision.observability import get_logger
from decision.server.hangup import terminal_is_gone
from decision.server.lifeline import end_with_supervisor
from decision.server.shared_folder import SHARED_FOLDER, SharedFolder

_LIVES: Final = 60.0
"""Seconds after which a worker that was started counts as one that lives."""
_LONGEST_PAUSE: Final = 30.0
_ASKED_FOR: Final = 0.5

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
        self.ready = False
        """Whether it has ever said that it has started to serve."""
        self._asked_at: float | None = None

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether it runs, and has not left a question unanswered for `timeout` seconds.

        It does not wait: a worker that ends meanwhile could not be seen, nor a signal.
        """
        if not self.process.is_alive():
            return False
        try:
            while self.parent_conn.poll(0):
                self.ready |= bool(self.parent_conn.recv())
                self._asked_at = None
            if self._asked_at is None:
                self.parent_conn.send(b"ping")
                self._asked_at = monotonic()
        except (OSError, EOFError):
            return False
        return monotonic() - self._asked_at < timeout

    def serves(self) -> bool:
        """Whether it has started to serve; it is asked once more, for a second at most."""
        if self.ready:
            return True
        if self._asked_at is not None and self.parent_conn.poll(_ASKED_FOR):
            self.is_alive()  # takes the answer to the question before, and asks again
        return self.parent_conn.poll(_ASKED_FOR) and self.is_alive() and self.ready

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

    exit_code: int = 0
    """Other than 0: workers could not start at all, which ends the server."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._never_ready = True
        self._failed: set[int] = set()
        """The places of workers that have ended by themselves before any was ready."""

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
                    self._never_ready &= not worker.ready
                    continue
                self._bury(worker, index)
                if self.exit_code:
                    self.should_exit.set()
                    return
            if monotonic() - (worker.ended_at or 0.0) >= worker.pause:
                again = self._started()
                again.pause = min(max(1.0, 2 * worker.pause), _LONGEST_PAUSE)
                self.processes[index] = again
                _log.info("worker_started", pid=again.pid, instead_of=worker.pid)

    def _bury(self, worker: Worker, index: int) -> None:
        """Says how a worker has ended; one that only does not answer is killed first."""
        hung = worker.process.is_alive()
        worker.kill()
        worker.join()
        worker.ended_at = monotonic()
        first = worker.pause == 0.0
        if worker.ended_at - worker.since > _LIVES:
            worker.pause = 0.0
        elif worker.exitcode == STARTUP_FAILURE and first:
            self.exit_code = 1  # it would fail in the same way again
        if self._never_ready and not hung and (worker.exitcode or 0) > 0:
            self._failed.add(index)
            if len(self._failed) == self.processes_num:
                self.exit_code = self.exit_code or worker.exitcode or 1
        _log.error(
            "worker_hung" if hung else "worker_ended",
            pid=worker.pid,
            **how_it_ended(worker.exitcode),
            **({} if self.exit_code else {"next_start_s": worker.pause}),
        )

    def terminate_all(self) -> None:
        """Stops the workers; one that has not started has nothing to finish, and may not hear."""
        for worker in self.processes:
            assert isinstance(worker, Worker)
            if worker.ended_at is None and worker.process.is_alive() and not worker.serves():
                worker.kill()
            else:
                worker.terminate()

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
