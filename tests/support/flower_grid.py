"""A grid of Flower whose nodes are ClientApps in this process.

Messages and replies become protobufs and back on their way, as between a SuperLink and SuperNodes;
what an app raises becomes an error reply, as a SuperNode makes one. Runs where flwr is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID, SERVER = 7, 1 << 40


def travel(message: Message, source: int) -> Message:
    """The message as it arrives, with a SuperLink's word for who has sent it."""
    message.metadata.__dict__["_src_node_id"] = source
    raw = message_to_proto(message).SerializeToString()
    return message_from_proto(ProtoMessage.FromString(raw))


class LocalGrid(Grid):
    """apps : the nodes, by their ids"""

    def __init__(self, apps: Mapping[int, ClientApp]) -> None:
        TaskIdentity.run_id = RUN_ID  # messages are made by a process that belongs to a run
        TaskIdentity.node_id, TaskIdentity.task_id = SERVER, 1
        self._apps = apps
        self.contexts = {
            node: Context(RUN_ID, node, {}, RecordDict(), {}, series_id=0) for node in apps
        }
        self._run = Run.create_empty(RUN_ID)

    @property
    def run(self) -> Run:
        return self._run

    def set_run(self, run: Run) -> None:
        self._run = run

    def get_node_ids(self) -> list[int]:
        return list(self._apps)

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError("messages are made by their class")

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        raise NotImplementedError("messages are sent and waited for")

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        raise NotImplementedError("messages are sent and waited for")

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        sent = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        return [self._ask(travel(message, source=SERVER)) for message in sent]

    def _ask(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        try:
            reply = self._apps[node](message, self.contexts[node])
        except Exception as error:
            text = f"{type(error)}:<'{error}'>"
            reply = Message(Error(code=0, reason=text), reply_to=message)
        return travel(reply, source=node)
