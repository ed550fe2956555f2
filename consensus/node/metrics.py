"""What a node tells Prometheus, on a port of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_SECONDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class NodeMetrics:
    """The numbers of one node."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.height = Gauge("zkpot_node_height", "Final blocks", registry=r)
        self.certified = Gauge(
            "zkpot_node_certified_height", "Height of the newest finality certificate", registry=r
        )
        self.round = Gauge("zkpot_node_round", "Round of the height under way", registry=r)
        self.learning_round = Gauge("zkpot_node_learning_round", "Learning round", registry=r)
        self.pending = Gauge("zkpot_node_pending", "Transactions that wait", registry=r)
        self.votes = Counter("zkpot_node_votes", "Votes sent", ["step", "choice"], registry=r)
        self.verify = Histogram(
            "zkpot_node_verify_seconds",
            "Seconds of checking proofs and blocks",
            ["what"],
            buckets=_SECONDS,
            registry=r,
        )
        self.verdicts = Counter(
            "zkpot_node_verdicts", "Judged transactions by kind", ["kind", "verdict"], registry=r
        )
        self.refused = Counter(
            "zkpot_node_refused_messages", "Messages not let in, by stream", ["stream"], registry=r
        )
        self.peer_height = Gauge(
            "zkpot_node_peer_height", "Height that a validator last spoke of", ["peer"], registry=r
        )
        self.leader_changes = Counter(
            "zkpot_node_leader_changes", "Blocks that changed the leader", registry=r
        )
        self.evidence = Counter("zkpot_node_evidence", "Contradicting votes seen", registry=r)

    def serve(self, port: int, address: str = "127.0.0.1") -> int:
        """Serves /metrics; 0 takes any free port. Returns the port."""
        server, _ = start_http_server(port, addr=address, registry=self.registry)
        return int(server.server_port)
