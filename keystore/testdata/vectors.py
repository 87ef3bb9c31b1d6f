"""Writes the test vectors of docs/format.md.

An implementation of the format that shares no code with the one in Go, so that
an error in either shows. It needs the Python package "cryptography".

    python3 keystore/testdata/vectors.py

writes keystore/testdata/vectors.json, keystore/cell/testdata/*.json and the
last section of docs/format.md. All secrets in them are counting bytes and
protect nothing.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MAGIC = bytes.fromhex("ff4c4b")
REALM = "main"
STRING, BINARY = ord("s"), ord("b")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def part(b):
    if b is None:
        return b"\xff\xff\xff\xff"
    if isinstance(b, str):
        b = b.encode()
    return struct.pack(">I", len(b)) + b


def mac(key, *data):
    return hmac.new(key, b"".join(data), hashlib.sha256).digest()


def extract(salt, ikm):
    return mac(salt or bytes(32), ikm)


def expand(prk, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = mac(prk, block, info, bytes([i]))
        out += block
        i += 1
    return out[:length]


def derive(secret, label, *parts, realm=REALM, length=32):
    info = part(label) + part(realm) + b"".join(part(p) for p in parts)
    return expand(extract(b"", secret), info, length)


def text(prefix, label, secret):
    raw = secret + hashlib.sha256(part(label) + part(secret)).digest()[:4]
    n = int.from_bytes(raw, "big") << 2
    digits = "".join(ALPHABET[n >> (5 * i) & 31] for i in reversed(range(58)))
    return "-".join([prefix] + [digits[i : i + 5] for i in range(0, 58, 5)])


def frame(family, value, pad):
    b = bytes([family]) + value + b"\x80"
    return b + bytes(-len(b) % pad if pad > 1 else 0)


def header(kind, suite, epoch, key_id, tag=None, bound=None):
    return (
        MAGIC + kind + (tag or b"") + bytes([suite, 1 if bound else 0]) + struct.pack(">H", epoch) + key_id
    )


def place(realm, context, bound):
    return part(realm) + part(context) + b"".join(part(v) for v in bound or [])


def seal(key, key_id, epoch, context, nonce, family, value, pad=0, tag=None, bound=None, realm=REALM):
    head = header(b"t" if tag else b"c", 1, epoch, key_id, tag, bound) + nonce
    return head + AESGCM(key).encrypt(nonce, frame(family, value, pad), head + place(realm, context, bound))


def labeled(suite_id, label, ikm):
    return b"HPKE-v1" + suite_id + label + ikm


def hpke_key(ephemeral, public, info):
    """RFC 9180 SetupBaseS for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
    enc = ephemeral.public_key().public_bytes_raw()
    kem = b"KEM" + struct.pack(">H", 0x0020)
    dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    prk = extract(b"", labeled(kem, b"eae_prk", dh))
    shared = expand(prk, struct.pack(">H", 32) + labeled(kem, b"shared_secret", enc + public), 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0002)
    context = b"\x00" + extract(b"", labeled(suite, b"psk_id_hash", b"")) + extract(b"", labeled(suite, b"info_hash", info))
    secret = extract(shared, labeled(suite, b"secret", b""))
    key = expand(secret, struct.pack(">H", 32) + labeled(suite, b"key", context), 32)
    nonce = expand(secret, struct.pack(">H", 12) + labeled(suite, b"base_nonce", context), 12)
    return enc, key, nonce


def seal_away(public, mac_key, key_id, context, ephemeral, family, value, pad=0, bound=None, realm=REALM):
    enc, key, nonce = hpke_key(ephemeral, public, b"latchkey/v1/away-cell")
    head = header(b"a", 2, 0, key_id, None, bound) + enc
    cell = head + AESGCM(key).encrypt(nonce, frame(family, value, pad), head + place(realm, context, bound))
    return cell + mac(mac_key, cell)


def hexes(o):
    if isinstance(o, bytes):
        return o.hex()
    if isinstance(o, dict):
        return {k: hexes(v) for k, v in o.items()}
    if isinstance(o, list):
        return [hexes(v) for v in o]
    return o


def user_key(account_key):
    cell_root = derive(account_key, "latchkey/v1/cell-root")
    search_root = derive(account_key, "latchkey/v1/search-root")
    away = derive(cell_root, "latchkey/v1/away-key")
    return {
        "account_key": account_key,
        "text": text("LK1", "latchkey/v1/account-key", account_key),
        "realm": REALM,
        "cell_root": cell_root,
        "search_root": search_root,
        "key_id": derive(cell_root, "latchkey/v1/key-id", length=8),
        "away_private": away,
        "away_public": X25519PrivateKey.from_private_bytes(away).public_key().public_bytes_raw(),
    }


def column_key(user, context, epoch):
    return derive(user["cell_root"], "latchkey/v1/cell", context, struct.pack(">H", epoch))


def index_key(user, context, collation, pad, version):
    return derive(user["search_root"], "latchkey/v1/tag", context, collation, pad, struct.pack(">I", version))


def slot_vector(name, fleet, user_keys, kind, extra, raw_secret, label_secret, peppered, not_after=0, label=""):
    """One key slot of owner 42, as it is stored, and what opens it."""
    owner, slot_id = "42", bytes(range(0xC0 + kind, 0xD0 + kind))
    pepper = derive(fleet, "latchkey/v1/pepper") if peppered else b""
    secret = derive(raw_secret + pepper, label_secret, owner, slot_id)
    share = derive(secret, "latchkey/v1/slot-share", owner, slot_id)
    private = derive(secret, "latchkey/v1/slot-private", owner, slot_id)
    key = X25519PrivateKey.from_private_bytes(private)
    fresh = X25519PrivateKey.from_private_bytes(bytes(range(0xE0, 0x100)))
    search, cells = user_keys
    payload = b"\x01" + search + bytes([len(cells)]) + b"".join(cells)
    head = part("latchkey/v1/slot") + part(REALM) + part(owner) + b"\x01" + slot_id + bytes([kind])
    head += struct.pack(">QQ", 1790000000, not_after) + part(label) + extra
    head += key.public_key().public_bytes_raw() + fresh.public_key().public_bytes_raw()
    common = fresh.exchange(key.public_key())
    kek = derive(common + share, "latchkey/v1/slot-kek", hashlib.sha256(head).digest())
    wrapped = AESGCM(kek).encrypt(bytes(12), payload, head)
    nonce = bytes(range(0xA0, 0xAC))
    box = nonce + AESGCM(derive(search, "latchkey/v1/slot-box", owner, slot_id)).encrypt(nonce, share, slot_id)
    stored = head + part(box) + part(wrapped)
    return {
        "name": name, "kind": kind, "owner": owner, "slot_id": slot_id, "slot_secret": secret, "share": share,
        "private": private, "kek": kek, "payload": payload, "slot": stored,
    }


def crockford(raw):
    n = int.from_bytes(raw, "big")
    return "".join(ALPHABET[n >> (5 * i) & 31] for i in reversed(range(len(raw) * 8 // 5)))


def slot_vectors(fleet, user):
    search, first = derive(user, "latchkey/v1/search-root"), derive(user, "latchkey/v1/cell-root")
    second = bytes(range(0x60, 0x80))
    keys = search, [second, first]
    password, salt = b"correct horse", bytes(range(0x10, 0x20))
    hashed = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=8192).derive(password)
    code = bytes(range(0x20, 0x34))
    summed = code + hashlib.sha256(part("latchkey/v1/recovery-code") + part(code)).digest()[:5]
    text_code = crockford(summed)
    token_secret = bytes(range(0x40, 0x60))
    slots = [
        slot_vector("password", fleet, keys, 1, struct.pack(">IIB", 8192, 1, 1) + salt, hashed, "latchkey/v1/password-slot", True)
        | {"password": password.decode()},
        slot_vector("recovery", fleet, keys, 2, b"", code, "latchkey/v1/recovery-slot", False)
        | {"code": "-".join(["LKR1"] + [text_code[i : i + 5] for i in range(0, 40, 5)])},
        slot_vector("token", fleet, keys, 3, b"", token_secret, "latchkey/v1/token-slot", True, not_after=1790003600),
        slot_vector("secret", fleet, keys, 4, b"", token_secret, "latchkey/v1/secret-slot", False) | {"given": token_secret},
    ]
    slots[2]["token"] = "LKT1-" + base64.urlsafe_b64encode(slots[2]["slot_id"] + token_secret).decode().rstrip("=")
    record = part("latchkey/v1/owner") + part(REALM) + part("42") + b"\x01" + struct.pack(">QBQQ", 7, 1, 1790000000, 0)
    record += b"\x02" + derive(second, "latchkey/v1/key-id", length=8) + derive(first, "latchkey/v1/key-id", length=8)
    away = X25519PrivateKey.from_private_bytes(derive(second, "latchkey/v1/away-key"))
    record += away.public_key().public_bytes_raw() + bytes([len(slots)])
    for s in slots:
        record += s["slot_id"] + bytes([s["kind"]]) + hashlib.sha256(s["slot"]).digest()
    record_key = derive(fleet, "latchkey/v1/record")
    return slots, {
        "owner": "42", "generation": 7, "record_key": record_key, "record": record,
        "mac": mac(record_key, part("latchkey/v1/owner") + part(record)),
    }


def main():
    keystore = pathlib.Path(__file__).parent.parent
    user = user_key(bytes(range(32)))
    service = user_key(bytes(range(32, 64)))
    fleet = bytes(range(64, 96))
    away_mac = derive(fleet, "latchkey/v1/away")
    schema = derive(fleet, "latchkey/v1/schema")
    body = b"latchkey:v1 context=entries.title varchar(200)"

    tags = []
    for context, collation, pad, version, weights in [
        ("entries.title", "utf8mb4_bin", "pad-space", 1, b"rent"),
        ("entries.title", "utf8mb4_bin", "no-pad", 1, b"rent"),
        ("entries.title", "utf8mb4_bin", "pad-space", 2, b"rent"),
        ("users.email", "utf8mb4_general_ci", "pad-space", 1, b""),
    ]:
        key = index_key(user, context, collation, pad, version)
        tags.append({
            "context": context, "collation": collation, "pad": pad, "weight_version": version,
            "index_key": key, "weights": weights, "tag": mac(key, weights)[:16],
        })

    columns = [
        {"context": c, "epoch": e, "column_key": column_key(user, c, e)}
        for c, e in [("entries.title", 0), ("entries.body", 0), ("entries.title", 82)]
    ]

    cells = []

    def cell(name, owner, context, family, value, epoch=0, pad=0, tag=None, bound=None):
        key = column_key(owner, context, epoch)
        nonce = bytes(range(0xA0, 0xAC))
        cells.append({
            "name": name, "realm": REALM, "context": context, "column_key": key, "key_id": owner["key_id"],
            "epoch": epoch, "nonce": nonce, "family": family, "value": value, "pad": pad, "tag": tag,
            "bound": bound or [],
            "cell": seal(key, owner["key_id"], epoch, context, nonce, family, value, pad, tag, bound),
        })

    cell("untagged", user, "entries.body", STRING, b"Paid the rent.")
    cell("tagged", user, "entries.title", STRING, b"rent", tag=tags[0]["tag"])
    cell("empty value", user, "entries.body", STRING, b"")
    cell("padded to 32", user, "entries.body", STRING, b"rent", pad=32)
    cell("padded, already a multiple", user, "entries.body", STRING, bytes(14), pad=16)
    cell("value that ends like padding", user, "entries.body", BINARY, bytes.fromhex("01800000"), pad=8)
    cell("service key with an epoch", service, "users.email", STRING, b"a@example.org", epoch=82)
    cell("bound to two columns", service, "users.email", STRING, b"a@example.org", epoch=82, bound=[b"17", None])

    ephemeral = X25519PrivateKey.from_private_bytes(bytes(range(96, 128)))
    away = []
    for name, value, pad, bound in [("away", b"rent", 0, None), ("away, padded and bound", b"rent", 32, [b"", None])]:
        away.append({
            "name": name, "realm": REALM, "context": "entries.title", "private": user["away_private"],
            "public": user["away_public"], "mac_key": away_mac, "key_id": user["key_id"], "family": STRING,
            "value": value, "pad": pad, "bound": bound or [],
            "cell": seal_away(user["away_public"], away_mac, user["key_id"], "entries.title", ephemeral, STRING, value, pad, bound),
        })

    good = cells[1]["cell"]
    plain = cells[0]["cell"]
    sealed = away[0]["cell"]
    bad = [
        ("empty", b"", "not a cell"),
        ("text", b"Paid the rent.", "not a cell"),
        ("part of the magic", good[:2], "not a cell"),
        ("magic alone", good[:3], "truncated"),
        ("cut inside the tag", good[:12], "truncated"),
        ("cut inside the fixed fields", good[:24], "truncated"),
        ("one byte short of the shortest tagged cell", good[:61], "truncated"),
        ("one byte short of the shortest untagged cell", plain[:45], "truncated"),
        ("one byte short of the shortest away cell", sealed[:97], "truncated"),
        ("last byte cut", good[:-1], "authentication"),
        ("one byte more", good + b"\x00", "authentication"),
        ("kind of a later version", good[:3] + b"u" + good[4:], "unknown format"),
        ("suite 0", good[:20] + b"\x00" + good[21:], "unknown format"),
        ("suite of kind a in a cell of kind t", good[:20] + b"\x02" + good[21:], "unknown format"),
        ("suite of kind t in a cell of kind a", sealed[:4] + b"\x01" + sealed[5:], "unknown format"),
        ("reserved flag", good[:21] + b"\x02" + good[22:], "unknown format"),
        ("bound flag set on an unbound cell", good[:21] + b"\x01" + good[22:], "binding"),
        ("other tag", good[:4] + bytes(16) + good[20:], "authentication"),
        ("tagged cell made untagged", good[:3] + b"c" + good[20:], "authentication"),
        ("cell of another column", cells[0]["cell"], "authentication"),
        ("sealed without the end of the frame", frameless(user, good), "authentication"),
    ]
    keys = {
        "user_key": user, "service_key": service, "columns": columns, "tags": tags,
        "fleet": {
            "secret": fleet, "text": text("LKF1", "latchkey/v1/fleet-secret", fleet), "realm": REALM,
            "away": away_mac, "schema": schema, "annotation": body, "annotation_mac": mac(schema, body)[:16],
        },
    }
    slots, record = slot_vectors(fleet, bytes(range(32)))
    write(keystore / "testdata/vectors.json", keys)
    write(keystore / "testdata/slots.json", {"fleet": fleet, "realm": REALM, "slots": slots, "record": record})
    write(keystore / "cell/testdata/cells.json", cells)
    write(keystore / "cell/testdata/away.json", away)
    write(keystore / "cell/testdata/bad.json", [{"name": n, "cell": c, "want": w} for n, c, w in bad])
    page(keystore.parent / "docs/format.md", hexes(keys), hexes(cells), hexes(away), hexes(slots), hexes(record))


def frameless(user, good):
    """The tagged cell with a plaintext that has no 80 behind the value."""
    head = good[:44]
    key = column_key(user, "entries.title", 0)
    return head + AESGCM(key).encrypt(good[32:44], b"\x01rent\x00", head + place(REALM, "entries.title", None))


def page(path, keys, cells, away, slots, record):
    """Puts the vectors into the page, between its two marks."""
    out = []

    def block(title, fields):
        out.extend(["", "### " + title, "", "```text"])
        out.extend(f"{name.replace('_', ' '):15} {shown(value)}".rstrip() for name, value in fields.items())
        out.append("```")

    block("User key", keys["user_key"])
    block("Service key", keys["service_key"])
    for v in keys["columns"]:
        block(f"Column key of the user key: {v['context']}, epoch {v['epoch']}", v)
    for v in keys["tags"]:
        block(f"Search tag of the user key: {v['context']}, {v['collation']}, {v['pad']}, {v['weight_version']}", v)
    block("Fleet secret", keys["fleet"])
    for v in cells:
        block("Cell: " + v["name"], {k: v[k] for k in v if k != "name"})
    for v in away:
        block("Cell of kind a: " + v["name"], {k: v[k] for k in v if k != "name"})
    for v in slots:
        block("Key slot: " + v["name"], {k: v[k] for k in v if k != "name"})
    block("Owner record of these key slots", record)
    text = path.read_text()
    head, rest = text.split("vectors.py -->\n")
    _, tail = rest.split("<!-- end of vectors -->")
    path.write_text(head + "vectors.py -->\n" + "\n".join(out).lstrip("\n") + "\n\n<!-- end of vectors -->" + tail)


def shown(value):
    if isinstance(value, list):
        return ", ".join(shown(v) for v in value) or "none"
    if value is None:
        return "NULL"
    return str(value) if value != "" else "(empty)"


def write(path, value):
    path.write_text(json.dumps(hexes(value), indent=1) + "\n")


main()
