#!/usr/bin/env python3
"""Writes vectors.txt beside it: what PyPI's `smp` (the encoder of smpclient) puts on the line. Each line: name, hexadecimal bytes.

    pip install smp && crates/smp/tests/vectors.py
"""

from pathlib import Path

import cbor2
from smp import header, image_management, os_management, packet

SHA = bytes(range(32))
V = header.Version


def request(cls, version=V.V2, seq=7, **fields):
    return cls(version=version, sequence=seq, **fields).BYTES


def answer(op, group, command, body, version=V.V2, seq=7, indefinite=False):
    body = cbor2.dumps(body)
    if indefinite:  # Zephyr's zcbor writes maps of unknown length
        body = b"\xbf" + body[1:] + b"\xff"
    head = header.Header(op=op, version=version, flags=header.Flag(0), length=len(body), group_id=group, sequence=seq, command_id=command)
    return head.BYTES + body


def slot(number, version, **flags):
    none = dict(bootable=True, pending=False, confirmed=False, active=False, permanent=False)
    return dict(slot=number, version=version, hash=bytes([number + 1]) * 32, **(none | flags))


READ, WRITE = header.OP.READ_RSP, header.OP.WRITE_RSP
STATES = [slot(0, "1.0.0", active=True, confirmed=True), slot(1, "2.0.0.7", pending=True)]
vectors = {
    "echo": request(os_management.EchoWriteRequest, d="sota"),
    "reset": request(os_management.ResetWriteRequest),
    "parameters": request(os_management.MCUMgrParametersReadRequest),
    "state": request(image_management.ImageStatesReadRequest),
    "state_v1": request(image_management.ImageStatesReadRequest, version=V.V1),
    "test": request(image_management.ImageStatesWriteRequest, hash=SHA, confirm=False),
    "confirm": request(image_management.ImageStatesWriteRequest, hash=SHA, confirm=True),
    "erase": request(image_management.ImageEraseRequest),
    "upload_first": request(image_management.ImageUploadWriteRequest, off=0, data=bytes(40), len=1000, sha=SHA),
    "upload_next": request(image_management.ImageUploadWriteRequest, off=40, data=bytes(300)),
    "states": answer(READ, 1, 0, {"images": STATES, "splitStatus": 0}),
    "states_indefinite": answer(READ, 1, 0, {"images": STATES}, indefinite=True),
    "states_none": answer(READ, 1, 0, {"images": []}),
    "buffers": answer(READ, 0, 6, {"buf_size": 384, "buf_count": 4}),
    "offset": answer(WRITE, 1, 1, {"off": 340}),
    "offset_v1": answer(WRITE, 1, 1, {"rc": 0, "off": 340}, version=V.V1),
    "matches": answer(WRITE, 1, 1, {"off": 1000, "match": True}),
    "refused": answer(WRITE, 1, 1, {"err": {"group": 1, "rc": 30}}),
    "refused_v1": answer(WRITE, 1, 1, {"rc": 3}, version=V.V1),
    "echoed": answer(WRITE, 0, 0, {"r": "sota"}),
}
lines = [f"{name} {data.hex()}" for name, data in vectors.items()]
for name in ("state", "upload_next"):  # on the line
    lines.append(f"line_{name} {b''.join(packet.encode(vectors[name])).hex()}")
Path(__file__).with_name("vectors.txt").write_text("\n".join(lines) + "\n")
