from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_INBOUND: _ClassVar[Direction]
    DIRECTION_OUTBOUND: _ClassVar[Direction]

class Transport(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSPORT_UNSPECIFIED: _ClassVar[Transport]
    TRANSPORT_TCP: _ClassVar[Transport]
    TRANSPORT_QUIC: _ClassVar[Transport]
    TRANSPORT_RELAYED: _ClassVar[Transport]
    TRANSPORT_OTHER: _ClassVar[Transport]

class TopicPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOPIC_POLICY_UNSPECIFIED: _ClassVar[TopicPolicy]
    TOPIC_POLICY_OPEN: _ClassVar[TopicPolicy]
    TOPIC_POLICY_KNOWN: _ClassVar[TopicPolicy]
    TOPIC_POLICY_LISTED: _ClassVar[TopicPolicy]

class SyncState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SYNC_STATE_UNSPECIFIED: _ClassVar[SyncState]
    SYNC_STATE_RUNNING: _ClassVar[SyncState]
    SYNC_STATE_DONE: _ClassVar[SyncState]
    SYNC_STATE_FAILED: _ClassVar[SyncState]
    SYNC_STATE_QUOTA: _ClassVar[SyncState]
DIRECTION_UNSPECIFIED: Direction
DIRECTION_INBOUND: Direction
DIRECTION_OUTBOUND: Direction
TRANSPORT_UNSPECIFIED: Transport
TRANSPORT_TCP: Transport
TRANSPORT_QUIC: Transport
TRANSPORT_RELAYED: Transport
TRANSPORT_OTHER: Transport
TOPIC_POLICY_UNSPECIFIED: TopicPolicy
TOPIC_POLICY_OPEN: TopicPolicy
TOPIC_POLICY_KNOWN: TopicPolicy
TOPIC_POLICY_LISTED: TopicPolicy
SYNC_STATE_UNSPECIFIED: SyncState
SYNC_STATE_RUNNING: SyncState
SYNC_STATE_DONE: SyncState
SYNC_STATE_FAILED: SyncState
SYNC_STATE_QUOTA: SyncState

class Traffic(_message.Message):
    __slots__ = ("sent", "received")
    SENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    sent: int
    received: int
    def __init__(self, sent: _Optional[int] = ..., received: _Optional[int] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("peer_id", "address", "direction", "latency_us", "score", "topics", "traffic", "connected_ms", "agent", "visiting", "reserved", "connections", "transport")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_MS_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    VISITING_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    address: str
    direction: Direction
    latency_us: int
    score: float
    topics: _containers.RepeatedScalarFieldContainer[str]
    traffic: Traffic
    connected_ms: int
    agent: str
    visiting: bool
    reserved: bool
    connections: int
    transport: Transport
    def __init__(self, peer_id: _Optional[str] = ..., address: _Optional[str] = ..., direction: _Optional[_Union[Direction, str]] = ..., latency_us: _Optional[int] = ..., score: _Optional[float] = ..., topics: _Optional[_Iterable[str]] = ..., traffic: _Optional[_Union[Traffic, _Mapping]] = ..., connected_ms: _Optional[int] = ..., agent: _Optional[str] = ..., visiting: bool = ..., reserved: bool = ..., connections: _Optional[int] = ..., transport: _Optional[_Union[Transport, str]] = ...) -> None: ...

class KnownPeer(_message.Message):
    __slots__ = ("peer_id", "addresses", "last_seen_ms")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    last_seen_ms: int
    def __init__(self, peer_id: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., last_seen_ms: _Optional[int] = ...) -> None: ...

class BannedPeer(_message.Message):
    __slots__ = ("peer_id", "until_ms", "times", "reason")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    until_ms: int
    times: int
    reason: str
    def __init__(self, peer_id: _Optional[str] = ..., until_ms: _Optional[int] = ..., times: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ListPeersRequest(_message.Message):
    __slots__ = ("with_known", "with_banned")
    WITH_KNOWN_FIELD_NUMBER: _ClassVar[int]
    WITH_BANNED_FIELD_NUMBER: _ClassVar[int]
    with_known: bool
    with_banned: bool
    def __init__(self, with_known: bool = ..., with_banned: bool = ...) -> None: ...

class ListPeersResponse(_message.Message):
    __slots__ = ("peers", "known", "banned")
    PEERS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    BANNED_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    known: _containers.RepeatedCompositeFieldContainer[KnownPeer]
    banned: _containers.RepeatedCompositeFieldContainer[BannedPeer]
    def __init__(self, peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., known: _Optional[_Iterable[_Union[KnownPeer, _Mapping]]] = ..., banned: _Optional[_Iterable[_Union[BannedPeer, _Mapping]]] = ...) -> None: ...

class AddPeerRequest(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class AddPeerResponse(_message.Message):
    __slots__ = ("peer_id",)
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    def __init__(self, peer_id: _Optional[str] = ...) -> None: ...

class RemovePeerRequest(_message.Message):
    __slots__ = ("peer_id",)
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    def __init__(self, peer_id: _Optional[str] = ...) -> None: ...

class RemovePeerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BanPeerRequest(_message.Message):
    __slots__ = ("peer_id", "seconds")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    seconds: int
    def __init__(self, peer_id: _Optional[str] = ..., seconds: _Optional[int] = ...) -> None: ...

class BanPeerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnbanPeerRequest(_message.Message):
    __slots__ = ("peer_id",)
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    def __init__(self, peer_id: _Optional[str] = ...) -> None: ...

class UnbanPeerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTopicsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTopicsResponse(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[MeshTopic]
    def __init__(self, topics: _Optional[_Iterable[_Union[MeshTopic, _Mapping]]] = ...) -> None: ...

class MeshTopic(_message.Message):
    __slots__ = ("topic", "joined", "grains", "peers", "policy", "listed")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    GRAINS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    topic: str
    joined: bool
    grains: int
    peers: int
    policy: TopicPolicy
    listed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, topic: _Optional[str] = ..., joined: bool = ..., grains: _Optional[int] = ..., peers: _Optional[int] = ..., policy: _Optional[_Union[TopicPolicy, str]] = ..., listed: _Optional[_Iterable[str]] = ...) -> None: ...

class SetTopicPolicyRequest(_message.Message):
    __slots__ = ("topic", "policy", "listed")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    topic: str
    policy: TopicPolicy
    listed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, topic: _Optional[str] = ..., policy: _Optional[_Union[TopicPolicy, str]] = ..., listed: _Optional[_Iterable[str]] = ...) -> None: ...

class SetTopicPolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JoinTopicRequest(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: str
    def __init__(self, topic: _Optional[str] = ...) -> None: ...

class JoinTopicResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: bool = ...) -> None: ...

class LeaveTopicRequest(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: str
    def __init__(self, topic: _Optional[str] = ...) -> None: ...

class LeaveTopicResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: bool = ...) -> None: ...

class SyncNowRequest(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: str
    def __init__(self, topic: _Optional[str] = ...) -> None: ...

class SyncNowResponse(_message.Message):
    __slots__ = ("progress", "summary")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    progress: SyncProgress
    summary: SyncSummary
    def __init__(self, progress: _Optional[_Union[SyncProgress, _Mapping]] = ..., summary: _Optional[_Union[SyncSummary, _Mapping]] = ...) -> None: ...

class SyncProgress(_message.Message):
    __slots__ = ("topic", "peer_id", "state", "reason", "missing", "fetched", "refused", "with_claim", "round_trips", "traffic", "elapsed_ms", "comparison_bytes", "fetches")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    FETCHED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WITH_CLAIM_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIPS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_BYTES_FIELD_NUMBER: _ClassVar[int]
    FETCHES_FIELD_NUMBER: _ClassVar[int]
    topic: str
    peer_id: str
    state: SyncState
    reason: str
    missing: int
    fetched: int
    refused: int
    with_claim: int
    round_trips: int
    traffic: Traffic
    elapsed_ms: int
    comparison_bytes: int
    fetches: int
    def __init__(self, topic: _Optional[str] = ..., peer_id: _Optional[str] = ..., state: _Optional[_Union[SyncState, str]] = ..., reason: _Optional[str] = ..., missing: _Optional[int] = ..., fetched: _Optional[int] = ..., refused: _Optional[int] = ..., with_claim: _Optional[int] = ..., round_trips: _Optional[int] = ..., traffic: _Optional[_Union[Traffic, _Mapping]] = ..., elapsed_ms: _Optional[int] = ..., comparison_bytes: _Optional[int] = ..., fetches: _Optional[int] = ...) -> None: ...

class SyncSummary(_message.Message):
    __slots__ = ("ended",)
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ended: _containers.RepeatedCompositeFieldContainer[SyncProgress]
    def __init__(self, ended: _Optional[_Iterable[_Union[SyncProgress, _Mapping]]] = ...) -> None: ...

class GetNetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetNetStatusResponse(_message.Message):
    __slots__ = ("peer_id", "listening", "external", "reachable", "reachability", "serves_kademlia", "routing_peers", "relays", "upnp", "peers", "max_peers", "known_peers", "traffic")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    LISTENING_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    REACHABILITY_FIELD_NUMBER: _ClassVar[int]
    SERVES_KADEMLIA_FIELD_NUMBER: _ClassVar[int]
    ROUTING_PEERS_FIELD_NUMBER: _ClassVar[int]
    RELAYS_FIELD_NUMBER: _ClassVar[int]
    UPNP_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    MAX_PEERS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_PEERS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    peer_id: str
    listening: _containers.RepeatedScalarFieldContainer[str]
    external: _containers.RepeatedScalarFieldContainer[str]
    reachable: bool
    reachability: str
    serves_kademlia: bool
    routing_peers: int
    relays: _containers.RepeatedScalarFieldContainer[str]
    upnp: str
    peers: int
    max_peers: int
    known_peers: int
    traffic: _containers.RepeatedCompositeFieldContainer[ProtocolTraffic]
    def __init__(self, peer_id: _Optional[str] = ..., listening: _Optional[_Iterable[str]] = ..., external: _Optional[_Iterable[str]] = ..., reachable: bool = ..., reachability: _Optional[str] = ..., serves_kademlia: bool = ..., routing_peers: _Optional[int] = ..., relays: _Optional[_Iterable[str]] = ..., upnp: _Optional[str] = ..., peers: _Optional[int] = ..., max_peers: _Optional[int] = ..., known_peers: _Optional[int] = ..., traffic: _Optional[_Iterable[_Union[ProtocolTraffic, _Mapping]]] = ...) -> None: ...

class ProtocolTraffic(_message.Message):
    __slots__ = ("protocol", "traffic")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    traffic: Traffic
    def __init__(self, protocol: _Optional[str] = ..., traffic: _Optional[_Union[Traffic, _Mapping]] = ...) -> None: ...
