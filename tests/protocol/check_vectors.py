#!/usr/bin/env python3
"""Reads the test vectors of proto/vectors with no code of the program: a second reader, written from proto/PROTOCOL.md and the schema.

It opens and refuses grains and announcements, follows claims, frames, names and ids of spaces, cuts windows, and seals grains of its own,
which must be those recorded, byte for byte. It ends with the number of checks, or with the first that fails.
"""

import hashlib
import json
import re
import struct
import sys
import unicodedata
from pathlib import Path

from blake3 import blake3
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

VECTORS = Path(__file__).resolve().parents[2] / "proto" / "vectors"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Unicode's White_Space; str.isspace takes four control characters more.
WHITE_SPACE = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
checks = 0


class Refused(Exception):
    """Bytes that break a rule. Its text is the label of the rule."""


def check(what, found, expected):
    global checks
    checks += 1
    if found != expected:
        sys.exit(f"check_vectors: {what}\n  found    {found!r}\n  expected {expected!r}")


def load(name):
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def derive(context, message):
    return blake3(message, derive_key_context=context).digest()


# Protobuf: enough of its wire format to read and write the messages of the schema.


def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Refused("malformed")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (2**64 - 1), at


def fields(data):
    """The fields of a message as {number: [(wire type, value), ...]}."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise Refused("malformed")
        if wire == VARINT:
            value, at = read_varint(data, at)
        elif wire in (FIXED64, FIXED32):
            end = at + (8 if wire == FIXED64 else 4)
            value, at = data[at:end], end
        elif wire == BYTES:
            length, at = read_varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise Refused("malformed")
        if at > len(data):
            raise Refused("malformed")
        found.setdefault(number, []).append((wire, value))
    return found


def values(message, number, wire):
    found = message.get(number, [])
    if any(kind != wire for kind, _ in found):
        raise Refused("malformed")
    return [value for _, value in found]


def number_of(message, number):
    return (values(message, number, VARINT) or [0])[-1]


def bytes_of(message, number):
    return (values(message, number, BYTES) or [b""])[-1]


def decode_text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("malformed") from None


def text_of(message, number):
    return decode_text(bytes_of(message, number))


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put(number, value):
    """A field as proto3 writes it: not at all when it is empty."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value) if value else b""
    return put_always(number, value) if value else b""


def put_always(number, value):
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def unframe(frame):
    length, at = read_varint(frame, 0)
    if len(frame) - at != length:
        raise Refused("unreadable")
    return frame[at:]


# Grains.


def is_word(text, most):
    return 0 < len(text.encode()) <= most and all(unicodedata.category(c) != "Cc" for c in text)


def require(holds, label):
    if not holds:
        raise Refused(label)


def verify(author, context, message, signature, label):
    require(crypto_core_ed25519_is_valid_point(author), label)
    try:
        VerifyKey(author).verify(derive(context, message), signature)
    except BadSignatureError:
        raise Refused(label) from None


def open_body(body):
    message = fields(body)
    version, kind = number_of(message, 1), number_of(message, 2)
    author, topic = bytes_of(message, 3), text_of(message, 5)
    text, title = text_of(message, 6), text_of(message, 7)
    tags = [decode_text(tag) for tag in values(message, 8, BYTES)]
    lang, mime = text_of(message, 9), text_of(message, 10)
    source = None
    if values(message, 11, BYTES):
        inner = fields(bytes_of(message, 11))
        source = {"uri": text_of(inner, 1), "ordinal": number_of(inner, 2)}
    links = [fields(link) for link in values(message, 12, BYTES)]
    links = [{"target": bytes_of(link, 1).hex(), "relation": text_of(link, 2)} for link in links]

    metadata = [fields(pair) for pair in values(message, 13, BYTES)]
    metadata = [[text_of(pair, 1), text_of(pair, 2)] for pair in metadata]

    require(version == 1, "unknown_version")
    require(kind in (1, 2), "unknown_kind")
    require(len(author) == 32, "bad_author")
    require(all(len(link["target"]) == 64 for link in links), "bad_link")
    require(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", topic) is not None, "bad_topic")
    require(len(text.encode()) <= 16384, "text_too_long")
    require(len(title.encode()) <= 256, "title_too_long")
    require(len(tags) <= 16, "too_many_tags")
    require(all(is_word(tag, 64) for tag in tags) and len(set(tags)) == len(tags), "bad_tag")
    require(re.fullmatch(r"[A-Za-z0-9-]{0,35}", lang) is not None, "bad_lang")
    require(re.fullmatch(r"[\x20-\x7e]{0,127}", mime) is not None, "bad_mime")
    require(source is None or is_word(source["uri"], 1024), "bad_source")
    require(len(links) <= 16, "too_many_links")
    require(all(is_word(link["relation"], 64) for link in links), "bad_link")
    require(len(metadata) <= 16, "too_much_metadata")
    keys = [key for key, _ in metadata]
    require(all(a.encode() < b.encode() for a, b in zip(keys, keys[1:])), "bad_metadata")
    require(all(re.fullmatch(r"[a-z0-9_.-]{1,64}", key) is not None for key in keys), "bad_metadata")
    require(all(value == "" or is_word(value, 256) for _, value in metadata), "bad_metadata")
    if kind == 1:
        require(not set(text) <= WHITE_SPACE, "empty_text")
    else:
        require(text == "" and [link["relation"] for link in links] == ["retracts"], "bad_retraction")
    return {
        "version": version, "kind": kind, "author": author.hex(), "created_ms": number_of(message, 4), "topic": topic,
        "text": text, "title": title, "tags": tags, "lang": lang, "mime": mime, "source": source, "links": links,
        "metadata": metadata,
    }  # fmt: skip


def open_grain(data):
    """The id, the fields, the outer message written again, and the parts of it."""
    require(len(data) <= 32768, "too_large")
    outer = fields(data)
    body, signature = bytes_of(outer, 1), bytes_of(outer, 2)
    require(len(signature) == 64, "malformed")
    said = open_body(body)
    verify(bytes.fromhex(said["author"]), "synapsenet v1 grain signature", body, signature, "bad_signature")
    return blake3(body).digest(), said, put(1, body) + put(2, signature), body, signature


def passage(said):
    starts = said["text"].startswith(said["title"])
    return said["text"] if starts else said["title"] + "\n" + said["text"]


def seal(seed, said):
    """A grain of our own, with the fields in the order of their numbers."""
    source = said["source"]
    body = b"".join(
        [put(1, said["version"]), put(2, said["kind"]), put(3, bytes.fromhex(said["author"])), put(4, said["created_ms"])]
        + [put(5, said["topic"]), put(6, said["text"]), put(7, said["title"])]
        + [put_always(8, tag.encode()) for tag in said["tags"]]
        + [put(9, said["lang"]), put(10, said["mime"])]
        + ([put_always(11, put(1, source["uri"]) + put(2, source["ordinal"]))] if source else [])
        + [put_always(12, put(1, bytes.fromhex(link["target"])) + put(2, link["relation"])) for link in said["links"]]
        + [put_always(13, put(1, key) + put(2, value)) for key, value in said["metadata"]]
    )
    signature = SigningKey(seed).sign(derive("synapsenet v1 grain signature", body)).signature
    return put(1, body) + put(2, signature)


def check_grains(vectors):
    seed = bytes.fromhex(vectors["seed"])
    author = bytes(SigningKey(seed).verify_key)
    check("the author is the seed's public key", author.hex(), vectors["author"])
    network_seed = derive("synapsenet v1 network key", seed)
    check("the seed of the network key", network_seed.hex(), vectors["network_seed"])
    network = bytes(SigningKey(network_seed).verify_key)
    check("the peer id is made of the network key", "002408011220" + network.hex(), vectors["peer_id_bytes"])
    for case in vectors["grains"]:
        name = case["name"]
        grain_id, said, again, body, signature = open_grain(bytes.fromhex(case["grain"]))
        check(f"{name}: fields", said, case["fields"])
        check(f"{name}: id", grain_id.hex(), case["id"])
        check(f"{name}: body", body.hex(), case["body"])
        check(f"{name}: signature", signature.hex(), case["signature"])
        check(f"{name}: the outer message", again.hex(), case["grain"])
        check(f"{name}: passage", passage(said) if said["kind"] == 1 else None, case["passage"])
        check(f"{name}: sealed here", seal(seed, case["fields"]).hex(), case["grain"])
    for case in vectors["read"]:
        grain_id, _, again, _, _ = open_grain(bytes.fromhex(case["bytes"]))
        check(case["name"], (grain_id.hex(), again.hex()), (case["id"], case["grain"]))
    for case in vectors["refused"]:
        check(f"refused: {case['name']}", refusal(open_grain, bytes.fromhex(case["bytes"])), case["refusal"])


def refusal(function, *arguments):
    try:
        function(*arguments)
    except Refused as refused:
        return str(refused)
    return None


# Vectors, claims, announcements.


def decode_vector(data):
    require(len(data) > 1 and len(data) <= 1 + 2 * 4096, "no vector")
    if data[0] == 1:
        require(len(data) % 2 == 1, "no vector")
        components = list(struct.unpack(f"<{len(data) // 2}e", data[1:]))
    else:
        require(data[0] == 2 and 5 < len(data) <= 5 + 4096, "no vector")
        (scale,) = struct.unpack("<f", data[1:5])
        components = [scale * byte for byte in struct.unpack(f"{len(data) - 5}b", data[5:])]
    norm = sum(x * x for x in components) ** 0.5
    require(0 < norm < float("inf"), "no vector")
    return [x / norm for x in components]


def signed_by_claim(grain_id, model, rule, vector):
    return grain_id + model + struct.pack("<I", rule) + vector


def open_announcement(data):
    """The id of the grain, and the vector that its author vouches for or None."""
    require(len(data) <= 49152, "too_large")
    message = fields(data)
    grain, has_claim = bytes_of(message, 1), bool(values(message, 3, BYTES))
    claim = fields(bytes_of(message, 3)) if has_claim else {}
    rule, model, vector, signature = number_of(claim, 1), bytes_of(claim, 2), bytes_of(claim, 3), bytes_of(claim, 4)
    written_claim = put(1, rule) + put(2, model) + put(3, vector) + put(4, signature)
    require(put(1, grain) + (put_always(3, written_claim) if has_claim else b"") == data, "not_canonical")
    signed_grain = fields(grain)
    require(put(1, bytes_of(signed_grain, 1)) + put(2, bytes_of(signed_grain, 2)) == grain, "not_canonical")
    grain_id, said, _, _, _ = open_grain(grain)
    if not has_claim:
        return grain_id, None
    if rule != 1:
        require(max(len(model), len(vector), len(signature)) <= 8256, "bad_claim")
        return grain_id, None
    require(len(model) == 32 and len(signature) == 64 and vector[:1] == b"\x02", "bad_claim")
    require(refusal(decode_vector, vector) is None, "bad_claim")
    signed = signed_by_claim(grain_id, model, rule, vector)
    verify(bytes.fromhex(said["author"]), "synapsenet v2 vector claim", signed, signature, "bad_claim")
    return grain_id, vector


def check_claims(vectors, seed):
    norm = sum(x * x for x in vectors["values"]) ** 0.5
    for name, least in (("vector", 0.005), ("vector_f16", 0.0005)):
        decoded = decode_vector(bytes.fromhex(vectors[name]))
        check(f"{name}: components", len(decoded), len(vectors["values"]))
        off = max(abs(x - value / norm) for x, value in zip(decoded, vectors["values"]))
        check(f"{name}: every component is where it was", off < least, True)
    grain_id, model = bytes.fromhex(vectors["grain_id"]), bytes.fromhex(vectors["model"])
    vector, announcement = bytes.fromhex(vectors["vector"]), bytes.fromhex(vectors["announcement"])
    signed = signed_by_claim(grain_id, model, vectors["passage_rule"], vector)
    check("what a claim signs", signed.hex(), vectors["signed"])
    check("the context of claims", vectors["signature_context"], "synapsenet v2 vector claim")
    signature = SigningKey(seed).sign(derive(vectors["signature_context"], signed)).signature
    check("a claim signed here", signature.hex(), vectors["signature"])
    check("the announcement", open_announcement(announcement), (grain_id, vector))
    claim = put(1, vectors["passage_rule"]) + put(2, model) + put(3, vector) + put(4, signature)
    grain = bytes_of(fields(announcement), 1)
    check("an announcement written here", (put(1, grain) + put(3, claim)).hex(), vectors["announcement"])
    topic = open_grain(grain)[1]["topic"]
    named = struct.pack("<Q", len(topic)) + topic.encode() + announcement
    check("the name of the message", derive("synapsenet v1 gossip message", named)[:20].hex(), vectors["gossip_message_id"])
    check("the gossip topic", topic, vectors["gossip_topic"])
    check("the provider key", derive("synapsenet v1 topic providers", topic.encode()).hex(), vectors["provider_key"])
    for case in vectors["announcements"]:
        outcome = refusal(open_announcement, bytes.fromhex(case["bytes"]))
        if outcome is None:
            outcome = "kept" if open_announcement(bytes.fromhex(case["bytes"]))[1] else "absent"
        check(f"a claim {case['name']}", outcome, case["outcome"])
    for case in vectors["wrapped_otherwise"]:
        check(case["name"], refusal(open_announcement, bytes.fromhex(case["bytes"])), case["outcome"])


# Questions and answers.


def check_questions(vectors, grains):
    for case in vectors["exchanges"]:
        question, answer = (fields(unframe(bytes.fromhex(case[part]))) for part in ("question", "answer"))
        if case["protocol"] == "/synapsenet/sync/1":
            check_sync(case["name"], question, answer, grains)
            continue
        known = {grain["id"] for grain in grains}
        found = [open_announcement(part)[0].hex() for part in values(answer, 1, BYTES)]
        check(f"{case['name']}: the grains are those recorded", set(found) <= known, True)
        if case["protocol"] == "/synapsenet/fetch/1":
            ids = bytes_of(question, 1)
            check("the ids are the answer's", [ids[at : at + 32].hex() for at in range(0, len(ids), 32)], found)
        else:
            check(f"{case['name']}: protocol", case["protocol"], "/synapsenet/search/2")
            check("the vector of a question", len(decode_vector(bytes_of(question, 2))), 5)
            check("no more than asked for", len(found) <= number_of(question, 3), True)
            condition = fields(bytes_of(question, 4))
            check("the author asked for is 32 bytes", bytes_of(condition, 3).hex(), grains[0]["fields"]["author"])
            for other in values(condition, 8, BYTES) + values(condition, 9, BYTES):
                said = fields(other)
                check("a filter in a filter says something and names no others", bool(said) and not {8, 9} & set(said), True)
            check("either grains or a reason", bool(found) != bool(text_of(answer, 2)), True)
    for case in vectors["unreadable"]:
        frame = bytes.fromhex(case["bytes"])
        check(case["name"], refusal(lambda: fields(unframe(frame))) is not None, True)


def check_sync(name, question, answer, grains):
    if values(question, 2, BYTES):
        check(f"{name}: topic", text_of(fields(bytes_of(question, 2)), 1), "commons")
        check(f"{name}: the answer is empty", answer, {})
        return
    reconcile = fields(bytes_of(question, 1))
    check(f"{name}: topic", text_of(reconcile, 1), "commons")
    check(f"{name}: the whole of time", (number_of(reconcile, 2), number_of(reconcile, 3)), (0, 0))
    # Negentropy: version 1, then a range without end (timestamp 0, no bytes of an id) of mode 1 with the fingerprint of no items.
    fingerprint = hashlib.sha256(bytes(32) + varint(0)).digest()[:16]
    check(f"{name}: the opening", bytes_of(reconcile, 4), b"\x61\0\0\x01" + fingerprint)
    pages = values(answer, 3, BYTES)
    if pages:
        times, at = [], 0
        while at < len(pages[0]):
            value, at = read_varint(pages[0], at)
            times.append(value)
        check(f"{name}: pages descend", times, sorted(set(times), reverse=True))
        return
    held = [grain for grain in grains if grain["fields"]["topic"] == "commons"]
    held.sort(key=lambda grain: (grain["fields"]["created_ms"], grain["id"]))
    listed = b"".join(bytes.fromhex(grain["id"]) for grain in held)
    check(f"{name}: mode 2, all ids", bytes_of(answer, 1), b"\x61\0\0\x02" + varint(len(held)) + listed)
    check(f"{name}: grains of the topic", number_of(answer, 2), len(held))


# Spaces and windows.


def space_id(context, model):
    message = bytes.fromhex(model["weights_sha256"]) + bytes.fromhex(model["tokenizer_sha256"])
    message += bytes([{"mean": 0, "cls": 1}[model["pooling"]], model["normalize"]])
    message += struct.pack("<QQ", model["dimension"], model["max_tokens"])
    for prefix in (model["question_prefix"], model["document_prefix"]):
        message += struct.pack("<Q", len(prefix.encode())) + prefix.encode()
    return derive(context, message)


def cut(words, room):
    windows, start = [], 0
    while len(words) - start > room:
        begins = [end for end in range(start + room // 2, start + room + 1) if words[end] is None or words[end] != words[end - 1]]
        end = max(begins, default=start + room)
        windows.append([start, end])
        start = end
    return windows + [[start, len(words)]]


def check_models(vectors, windows):
    check("the context of the ids of spaces", vectors["context"], "synapsenet v1 model id")
    for model in vectors["models"]:
        check(model["name"], space_id(vectors["context"], model).hex(), model["id"])
    for case in windows["cut"]:
        check(case["name"], cut(case["words"], case["room"]), case["windows"])


def main():
    grains = load("grains.json")
    check_grains(grains)
    check_claims(load("claims.json"), bytes.fromhex(grains["seed"]))
    check_questions(load("questions.json"), grains["grains"])
    check_models(load("models.json"), load("windows.json"))
    print(f"check_vectors: {checks} checks hold")


if __name__ == "__main__":
    main()
