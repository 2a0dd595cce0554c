"""What the launcher tells the agent of a host, and the environment of the processes there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MARK = "@crossalign "
"""Begins a line of an agent or trainer that is for the launcher, and not for the user."""
ENTERED = f"{MARK}entered"
NO_MEMORY = "as memory ran out"
"""Ends the words for a process that the system killed for want of memory."""


@dataclass(frozen=True)
class HostSpec:
    """One host's share of a run.

    Attributes:
        host: its number.
        addresses: of all hosts, as they reach each other.
        trainers: processes that train on each host.
        port: of the servers; the one 20 above it is where the trainers meet.
        graph_file: `graph.json` of the partition folder, as the host sees it.
        command: what every trainer and server runs, arguments of Python.
        same_machine: whether all hosts are on one machine.
    """

    host: int
    addresses: tuple[str, ...]
    trainers: int
    port: int
    graph_file: str
    command: tuple[str, ...]
    same_machine: bool = False

    def to_json(self) -> str:
        """For the command line of an agent."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> HostSpec:
        """What `to_json` wrote."""
        values = json.loads(text)
        for name in ("addresses", "command"):
            values[name] = tuple(values[name])
        return cls(**values)

    @property
    def address(self) -> str:
        """Of this host."""
        return self.addresses[self.host]

    def environment(self, ip_config: str) -> dict[str, str]:
        """What server and trainers of this host have in common."""
        n_trainers = self.trainers * len(self.addresses)
        return {
            "DGL_DIST_MODE": "distributed",
            "DGL_IP_CONFIG": ip_config,
            "DGL_CONF_PATH": self.graph_file,
            "DGL_NUM_SERVER": "1",
            "DGL_NUM_CLIENT": str(n_trainers),
            "DGL_NUM_SAMPLER": "0",
            "DGL_GRAPH_FORMAT": "csc",
            "DGL_DIST_MAX_TRY_TIMES": "40",  # of 3 seconds
            "TORCH_CPP_LOG_LEVEL": "ERROR",  # it warns of addresses that have no name
            "CROSSALIGN_ADDRESS": self.address,
            "CROSSALIGN_MEET": f"{self.addresses[0]}:{self.port + 20}",
            "CROSSALIGN_TRAINERS": str(n_trainers),
        }

    def server(self) -> dict[str, str]:
        """What is the server's own."""
        return {"DGL_ROLE": "server", "DGL_SERVER_ID": str(self.host)}

    def trainer(self, n: int) -> dict[str, str]:
        """What is its trainer `n`'s own."""
        return {"DGL_ROLE": "client", "CROSSALIGN_TRAINER": str(self.host * self.trainers + n)}
