#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A smart card for vpcd, the virtual reader: as much of PIV (NIST SP 800-73) as it takes to find
two keys with their certificates, log in, and sign. Usage: piv_card.py PORT"""
import datetime
import socket
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

AID = bytes.fromhex("A000000308000010000100")
ATR = bytes.fromhex("3B80800101")  # both protocols, nothing more to say
PIN = b"123456".ljust(8, b"\xff")
TRIES = 3

OK, NOT_FOUND, NOT_SUPPORTED = 0x9000, 0x6A82, 0x6D00
SECURITY_STATUS, WRONG_DATA = 0x6982, 0x6A80


def tlv(tag, value):
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    elif size < 0x100:
        length = bytes([0x81, size])
    else:
        length = struct.pack(">BH", 0x82, size)
    return bytes.fromhex(tag) + length + value


def parse(data):
    """The values of a sequence of objects with tags of one byte."""
    values = {}
    while data:
        tag, size, head = data[0], data[1], 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(data[2:head], "big")
        values[tag] = data[head : head + size]
        data = data[head + size :]
    return values


def certificate(key, name):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


class Card:
    def __init__(self):
        self.keys = {}
        self.objects = {
            "7E": tlv("4F", AID) + tlv("5F2F", b"\x40\x00"),
            "5FC102": tlv("30", bytes(25)) + tlv("34", b"bulkhead-card-01")
            + tlv("35", b"20991231") + tlv("3E", b"") + tlv("FE", b""),
        }
        for reference, tag, name in ((0x9A, "5FC105", "login"), (0x9C, "5FC10A", "signature")):
            key = rsa.generate_private_key(65537, 2048)
            self.keys[reference] = key
            self.objects[tag] = (
                tlv("70", certificate(key, name)) + tlv("71", b"\x00") + tlv("FE", b"")
            )
        self.tries = TRIES
        self.reset()

    def reset(self):
        self.verified = False  # since the card was powered
        self.just_verified = False  # by the command before this one
        self.begun = b""  # of a command that comes in parts
        self.pending = b""  # of an answer that goes in parts

    def verify(self, pin):
        if not pin:
            return OK if self.verified else 0x63C0 | self.tries
        if self.tries == 0:
            return 0x6983
        self.verified = pin == PIN
        self.tries = TRIES if self.verified else self.tries - 1
        return OK if self.verified else 0x63C0 | self.tries

    def get_data(self, query):
        tag = parse(query).get(0x5C, b"").hex().upper()
        if tag not in self.objects:
            return b"", NOT_FOUND
        return tlv("7E" if tag == "7E" else "53", self.objects[tag]), OK

    def authenticate(self, algorithm, reference, query, fresh):
        if reference not in self.keys or algorithm != 0x07:
            return b"", 0x6A86
        if not self.verified or (reference == 0x9C and not fresh):
            return b"", SECURITY_STATUS
        block = parse(parse(query).get(0x7C, b"")).get(0x81)
        if not block or len(block) != 256:
            return b"", WRONG_DATA
        # The caller has padded it.
        key = self.keys[reference].private_numbers()
        signature = pow(int.from_bytes(block, "big"), key.d, key.public_numbers.n)
        return tlv("7C", tlv("82", signature.to_bytes(256, "big"))), OK

    def command(self, apdu):
        kind, instruction, p1, p2 = apdu[:4]
        data = apdu[5 : 5 + apdu[4]] if len(apdu) > 5 else b""
        if kind == 0x10:
            self.begun += data
            return b"", OK
        data, self.begun = self.begun + data, b""
        fresh, self.just_verified = self.just_verified, False
        if kind != 0:
            return b"", 0x6E00
        if instruction == 0xC0:
            return self.pending, OK
        if instruction == 0xA4 and p1 == 0x04:
            if not data or not AID.startswith(data[:9]):
                return b"", NOT_FOUND
            return tlv("61", tlv("4F", AID[5:]) + tlv("79", tlv("4F", AID[:5]))), OK
        if instruction == 0xCB and (p1, p2) == (0x3F, 0xFF):
            return self.get_data(data)
        if instruction == 0x20 and (p1, p2) == (0x00, 0x80):
            status = self.verify(data)
            self.just_verified = status == OK and bool(data)
            return b"", status
        if instruction == 0x87:
            return self.authenticate(p1, p2, data, fresh)
        return b"", NOT_SUPPORTED

    def answer(self, apdu):
        if len(apdu) < 4:
            return struct.pack(">H", 0x6700)
        if len(apdu) == 4:
            apdu += b"\x00"
        data, status = self.command(apdu)
        if status == OK and len(data) > 256:
            # The rest on request.
            data, self.pending = data[:256], data[256:]
            status = 0x6100 | (len(self.pending) if len(self.pending) < 256 else 0)
        return data + struct.pack(">H", status)


def receive(reader, size):
    data = b""
    while len(data) < size:
        part = reader.recv(size - len(data))
        if not part:
            sys.exit()  # the reader is gone
        data += part
    return data


def main():
    card = Card()
    reader = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    while True:
        message = receive(reader, struct.unpack(">H", receive(reader, 2))[0])
        if len(message) != 1:
            reply = card.answer(message)
        elif message == b"\x04":
            reply = ATR
        else:  # power off, on, reset
            card.reset()
            continue
        reader.sendall(struct.pack(">H", len(reply)) + reply)


if __name__ == "__main__":
    main()
