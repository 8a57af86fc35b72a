"""The world outside of nodes that should be silent. It answers every look-up of a name with its own address, takes every connection to the ports
of the web there, and writes one line for each packet that comes out of a node's cable:

    v20 udp 10.77.0.20 -> 10.77.0.53:53 looks up www.example.org
    v20 tcp 10.77.0.20 -> 10.77.0.53:443
    v20 udp 10.77.0.20 -> 224.0.0.251:5353

Not written down is what the kernel says without being asked: ARP, the neighbour discovery of IPv6, and the packets of a connection after its first.

    sink.py LOG ADDRESS CABLE...        the cables are interfaces on this side
"""

import ipaddress
import socket
import struct
import sys
import threading

ETHERNET, IPV4, IPV6, ARP = 14, 0x0800, 0x86DD, 0x0806
ICMP, IGMP, TCP, UDP, ICMPV6, HOP_BY_HOP = 1, 2, 6, 17, 58, 0
# Router and neighbour solicitation and advertisement, and the reports of multicast listeners.
NEIGHBOUR_DISCOVERY = {133, 134, 135, 136, 143}
NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6"}


def name_in(question):
    """The name that a DNS question asks for, and where it ends."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace"))
        at += question[at] + 1
    return ".".join(labels), at + 1


def groups_in(report):
    """The multicast groups that an IGMP report of version 3 is about; those of version 2 name one."""
    if report[0] != 0x22:
        return [report[4:8]]
    groups, at = [], 8
    for _ in range(struct.unpack(">H", report[6:8])[0]):
        groups.append(report[at + 4 : at + 8])
        at += 8 + 4 * (report[at + 1] + struct.unpack(">H", report[at + 2 : at + 4])[0])
    return groups


def said(frame):
    """The lines for a frame, without the cable."""
    kind, packet = struct.unpack(">H", frame[12:14])[0], frame[ETHERNET:]
    if kind == ARP:
        return
    if kind == IPV4:
        protocol, source, target = packet[9], packet[12:16], packet[16:20]
        body = packet[(packet[0] & 15) * 4 :]
    elif kind == IPV6:
        protocol, source, target, body = packet[6], packet[8:24], packet[24:40], packet[40:]
        if protocol == HOP_BY_HOP:
            protocol, body = body[0], body[(body[1] + 1) * 8 :]
    else:
        yield f"frame of kind {kind:#06x}"
        return
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if protocol == IGMP:
        for group in groups_in(body):
            yield f"igmp {source} -> {ipaddress.ip_address(group)}"
        return
    if protocol == ICMPV6 and body[0] in NEIGHBOUR_DISCOVERY:
        return
    if protocol not in (TCP, UDP):
        yield f"{NAMES.get(protocol, f'protocol {protocol}')} {source} -> {target}"
        return
    port = struct.unpack(">H", body[2:4])[0]
    # SYN alone opens a connection.
    if protocol == TCP and body[13] & 0x12 != 0x02:
        return
    name = f" looks up {name_in(body[8:])[0]}" if protocol == UDP and port == 53 else ""
    yield f"{NAMES[protocol]} {source} -> {target}:{port}{name}"


def watch(cable, log):
    """Writes down what comes out of a cable, for good."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.bind((cable, 0))
    while True:
        frame, (_, _, direction, *_) = tap.recvfrom(65536)
        if direction == socket.PACKET_OUTGOING:
            continue
        try:
            lines = list(said(frame))
        except (IndexError, struct.error):
            lines = [f"what cannot be read: {frame.hex()}"]
        for line in lines:
            log.write(f"{cable} {line}\n")


def resolve(address):
    """Answers look-ups of addresses with this one, and others with nothing, for good."""
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((address, 53))
    while True:
        question, asker = door.recvfrom(4096)
        try:
            end = name_in(question)[1] + 4
        except IndexError:
            continue
        answer = b""
        if question[end - 4 : end - 2] == b"\0\1":
            answer = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        header = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if answer else 0, 0, 0)
        door.sendto(header + question[12:end] + answer, asker)


def listen(address, port):
    """Takes connections, and lets them wait for an answer, for good."""
    door = socket.create_server((address, port))
    taken = []
    while True:
        taken.append(door.accept())


def main():
    path, address, cables = sys.argv[1], sys.argv[2], sys.argv[3:]
    # For appending, so that the reader may empty it; a line at a time.
    log = open(path, "a", buffering=1, encoding="ascii")
    tasks = [(watch, cable, log) for cable in cables] + [(resolve, address), (listen, address, 80), (listen, address, 443)]
    threads = [threading.Thread(target=task, args=arguments) for task, *arguments in tasks]
    for thread in threads:
        thread.start()


main()
