"""A raw iSCSI initiator of a few pages, which asks a target how it behaves.

targets-probe.py keys PORTAL TARGET [CID-PORTAL]   what it answers to the widest offers
targets-probe.py attention PORTAL TARGET LUN       the unit attentions of a new nexus
targets-probe.py unmap PORTAL TARGET LUN           its answer to UNMAP
targets-probe.py reinstate PORTAL TARGET LUN UNDER open|closed [PORTAL2]
targets-probe.py abort PORTAL TARGET LUN UNDER task|lun
targets-probe.py loss PORTAL,PORTAL... TARGET LUN UNDER OPEN WAIT TURNS [HOW]
targets-probe.py panic PORTAL,PORTAL... TARGET LUN

UNDER is the device below the target's backing, which the target's writes reach some
seconds late: it tells when a write was really done. It knows no more of RFC 7143 than
that takes, and it is no part of braid, so that it can judge both.
"""
import mmap
import os
import socket
import struct
import sys
import threading
import time

LOGIN, COMMAND, TMF, LOGOUT, NOP_OUT = 0x03, 0x01, 0x02, 0x06, 0x00
LOGIN_R, COMMAND_R, TMF_R, DATA_IN, R2T, NOP_IN, ASYNC = 0x23, 0x21, 0x22, 0x25, 0x31, 0x20, 0x32
LOGOUT_R = 0x26
ISID = bytes([0x80, 0x12, 0x34, 0x56, 0x00, 0x01])
NOBODY = 0xFFFFFFFF
LBA_BYTES = 512
AT = 1 << 20  # where the test writes, in bytes
BLOCK = 4096  # how much it writes at a time
WRITES = 3  # how many writes are out when the session is reinstated
LOOK = 0.01  # seconds between two looks at the device

WIDEST = {
    "HeaderDigest": "CRC32C,None", "DataDigest": "CRC32C,None", "MaxConnections": "8",
    "ErrorRecoveryLevel": "2", "InitialR2T": "No", "ImmediateData": "Yes",
    "DefaultTime2Wait": "0", "DefaultTime2Retain": "20", "MaxOutstandingR2T": "16",
    "MaxBurstLength": "1048576", "FirstBurstLength": "262144",
    "MaxRecvDataSegmentLength": "262144", "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes", "TaskReporting": "FastAbort,ResponseFence,RFC3720",
}
PLAIN = dict(WIDEST, HeaderDigest="None", DataDigest="None")

OF_A_CONNECTION = ("HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength")


class Refused(Exception):
    """A login that the target did not accept: status class and detail."""


class Connection:
    def __init__(self, portal, session, cid):
        host, port = portal.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), 10)
        self.sock.settimeout(60)
        self.session, self.cid, self.statsn, self.keys = session, cid, 0, {}

    def send(self, head, data=b""):
        head = bytearray(head)
        head[5:8] = len(data).to_bytes(3, "big")
        self.sock.sendall(bytes(head) + data + b"\0" * (-len(data) % 4))

    def read(self, n):
        out = b""
        while len(out) < n:
            part = self.sock.recv(n - len(out))
            if not part:
                raise ConnectionError("closed by the target")
            out += part
        return out

    def receive(self):
        head = self.read(48)
        length = int.from_bytes(head[5:8], "big")
        data = self.read(length + -length % 4 + 4 * head[4])[4 * head[4]:][:length]
        if head[0] & 0x3F in (LOGIN_R, COMMAND_R, TMF_R):
            self.statsn = int.from_bytes(head[24:28], "big") + 1
        return head, data

    def login(self, offers, target):
        """Goes through security without any, then negotiates. Returns the TSIH."""
        names = {"InitiatorName": "iqn.2026-01.test.guest:probe", "TargetName": target,
                 "AuthMethod": "None"}
        if self.session.tsih == 0:
            names["SessionType"] = "Normal"
        else:
            offers = {k: offers[k] for k in OF_A_CONNECTION}
        self.step(0, 1, names)
        return self.step(1, 3, offers)

    def step(self, stage, following, keys):
        while True:
            head = bytearray(48)
            head[0], head[1] = 0x40 | LOGIN, 0x80 | stage << 2 | following
            head[8:14], head[14:16] = self.session.isid, struct.pack(">H", self.session.tsih)
            head[20:22] = struct.pack(">H", self.cid)
            head[24:32] = struct.pack(">II", self.session.cmdsn, self.statsn)
            self.send(head, b"".join(f"{k}={v}\0".encode() for k, v in keys.items()))
            head, data = self.receive()
            if head[36]:
                raise Refused(f"login status {head[36]:02x}{head[37]:02x}")
            for pair in filter(None, data.decode().split("\0")):
                self.keys.update([pair.split("=", 1)])
            if head[1] & 0x80:
                return struct.unpack(">H", head[14:16])[0]
            keys = {}

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Session:
    """A session: its connections and what they share. One caller at a time."""

    def __init__(self, portal, target, offers=PLAIN, isid=ISID):
        self.isid, self.tsih, self.cmdsn, self.itt, self.target = isid, 0, 1, 1, target
        self.offers, self.fua, self.cached = offers, 0, False
        self.connections = []
        self.add(portal)

    def add(self, portal):
        c = Connection(portal, self, len(self.connections))
        self.tsih = c.login(self.offers, self.target) or self.tsih
        self.connections.append(c)
        return c

    def command(self, lun, cdb, data=b"", want=0, conn=0):
        """Sends a command, with its data, and returns its tag."""
        self.itt += 1
        head = bytearray(48)
        head[0], head[1] = COMMAND, 0x81 | (0x20 if data else 0) | (0x40 if want else 0)
        head[8:10] = struct.pack(">H", lun)
        head[16:32] = struct.pack(">IIII", self.itt, len(data) or want, self.cmdsn,
                                  self.connections[conn].statsn)
        head[32:32 + len(cdb)] = cdb
        self.cmdsn += 1
        self.connections[conn].send(head, data)
        return self.itt

    def immediate(self, kind, function, word, over):
        """The header of an immediate request; word is what follows its tag."""
        self.itt += 1
        head = bytearray(48)
        head[0], head[1] = 0x40 | kind, 0x80 | function
        head[16:32] = struct.pack(">IIII", self.itt, word, self.cmdsn, over.statsn)
        return head

    def manage(self, lun, function, tag):
        over = self.connections[0]
        head = self.immediate(TMF, function, tag, over)
        head[8:10], head[32:36] = struct.pack(">H", lun), struct.pack(">I", self.cmdsn - 1)
        over.send(head)
        return self.itt

    def logout(self, cid, over):
        """Closes another connection and returns the response."""
        over.send(self.immediate(LOGOUT, 1, cid << 16, over))
        return self.answer(LOGOUT_R, over)[2]

    def ping(self, over):
        over.send(self.immediate(NOP_OUT, 0, NOBODY, over))
        self.answer(NOP_IN, over)

    def answer(self, kind, over):
        """The next PDU of a kind that answers the last request."""
        while True:
            head, _ = over.receive()
            if head[0] & 0x3F == kind and struct.unpack(">I", head[16:20])[0] == self.itt:
                return head

    def next(self, conn=0):
        """The next answer, as (kind, tag, byte 3 or status, data); pings are answered."""
        while True:
            head, data = self.connections[conn].receive()
            op = head[0] & 0x3F
            if op == NOP_IN:
                if head[20:24] != b"\xff" * 4:
                    reply = bytearray(48)
                    reply[0], reply[1] = 0x40 | NOP_OUT, 0x80
                    reply[8:16], reply[16:20], reply[20:24] = head[8:16], b"\xff" * 4, head[20:24]
                    reply[24:32] = struct.pack(">II", self.cmdsn, self.connections[conn].statsn)
                    self.connections[conn].send(reply)
                continue
            return op, struct.unpack(">I", head[16:20])[0], head[2] if op == TMF_R else head[3], data

    def run(self, lun, cdb, data=b"", want=0):
        """A command and its end: status, sense or data."""
        tag = self.command(lun, cdb, data, want)
        got = b""
        while True:
            op, of, status, more = self.next()
            if op == DATA_IN and of == tag:
                got += more
                if len(got) >= want and want:
                    return 0, got
            elif op == COMMAND_R and of == tag:
                return status, more[2:] if status else got


def write16(at, data, fua=0):
    return struct.pack(">BBQIBB", 0x8A, fua, at // LBA_BYTES, len(data) // LBA_BYTES, 0, 0)


def forced(session, lun):
    """The FUA bit, if the target takes it: a cache must not answer for the device. And
    whether there is a cache that will."""
    status, data = session.run(lun, bytes([0x1A, 8, 8, 0, 8, 0]), want=8)
    if status == 0 and data[2] & 0x10:
        return 8, False
    return 0, status == 0 and len(data) > 6 and bool(data[6] & 4)


def sense(data):
    return f"{data[2] & 15:x}/{data[12]:02x}/{data[13]:02x}" if len(data) > 13 else "without sense"


def ready(session, lun):
    """Goes through the unit attentions of a new nexus and returns them."""
    seen = []
    for _ in range(8):
        status, data = session.run(lun, bytes(6))
        if status == 0:
            session.fua, session.cached = forced(session, lun)
            return seen
        seen.append(f"status {status:02x}" + (f" {sense(data)}" if status == 2 else ""))
    raise SystemExit(f"it does not get ready: {seen}")


class Watch(threading.Thread):
    """Looks at some blocks of a device, past every cache, and keeps when it saw which text."""

    def __init__(self, device, texts, blocks=WRITES):
        super().__init__(daemon=True)
        self.file = os.open(device, os.O_RDONLY | os.O_DIRECT)
        self.texts, self.seen, self.pages = texts, {}, mmap.mmap(-1, blocks * BLOCK)
        self.start()

    def run(self):
        while True:
            os.preadv(self.file, [self.pages], AT)
            for t in self.texts:
                if t not in self.seen and self.pages.find(t, 0) >= 0:
                    self.seen[t] = time.monotonic()
            time.sleep(LOOK)

    def wait(self, text, seconds):
        end = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < end:
            time.sleep(0.05)
        return self.seen.get(text)


def after(began, moment):
    return "never" if moment is None else f"{moment - began:.2f} s"


def keys(portal, target, second=None):
    s = Session(portal, target, WIDEST)
    answers = s.connections[0].keys
    for k in sorted(WIDEST):
        print(f"{k}: offered {WIDEST[k]}, answered {answers.pop(k, 'nothing')}")
    print("besides:", ", ".join(f"{k}={v}" for k, v in sorted(answers.items())))
    s.connections[0].reset()
    time.sleep(4)
    s = Session(portal, target, isid=ISID[:5] + b"\x07")
    try:
        s.add(second or portal)
        print("second connection: accepted")
    except (Refused, ConnectionError) as e:
        print("second connection:", e)


def attention(portal, target, lun):
    print("a new nexus:", ready(Session(portal, target), int(lun)) or "none")
    s = Session(portal, target)  # the same ISID: the first one is reinstated
    print("after reinstatement:", ready(s, int(lun)) or "none")


def unmap(portal, target, lun):
    s = Session(portal, target)
    ready(s, int(lun))
    listing = struct.pack(">HHIQII", 22, 16, 0, AT // LBA_BYTES, 8, 0)
    status, data = s.run(int(lun), struct.pack(">BBIBHB", 0x42, 0, 0, 0, len(listing), 0), listing)
    print("UNMAP:", "good" if status == 0 else f"status {status:02x} {sense(data)}")


def text(what):
    return b"%s %d;" % (what.encode(), time.monotonic_ns())


def start(session, lun, at, what):
    """Sends a write that starts with a text, and returns its tag."""
    data = what.ljust(BLOCK)
    return session.command(lun, write16(at, data, session.fua), data)


def reinstate(portal, target, lun, under, how, other=None):
    """Does the login that reinstates a session wait for the writes of the old one?"""
    old = [text(f"old {n}") for n in range(WRITES)]
    new = text("new")
    lun, watch = int(lun), Watch(under, old + [new])
    a = Session(portal, target)
    ready(a, lun)
    for n, what in enumerate(old):
        start(a, lun, AT + n * BLOCK, what)
    time.sleep(0.7)
    if how == "closed":
        a.connections[0].reset()
    began = time.monotonic()
    b = Session(other or portal, target)
    login = time.monotonic()
    seen = ready(b, lun)
    usable = time.monotonic()
    landed = [watch.wait(what, 20) for what in old]
    print(f"{how}: login answered after {after(began, login)}, first command after "
          f"{after(began, usable)}; the old writes were done after",
          ", ".join(after(began, moment) for moment in landed) + ";", *seen)
    waits = all(moment is None or moment <= login + 5 * LOOK for moment in landed)
    if a.cached:
        print(f"{how}: nothing is known by that: a write cache, and no FUA to pass it by")
    else:
        print(f"{how}: the login", "WAITS for the old tasks" if waits else "DOES NOT WAIT")
    start(b, lun, AT, new)
    while b.next()[0] != COMMAND_R:
        pass
    print(f"{how}: a write after it was done after {after(began, watch.wait(new, 20))}")


def abort(portal, target, lun, under, what):
    """What becomes of a write that is aborted, alone or by a reset of the logical unit?"""
    old = text("aborted")
    lun, watch = int(lun), Watch(under, [old])
    a = Session(portal, target)
    ready(a, lun)
    tag = start(a, lun, AT, old)
    time.sleep(0.7)
    began = time.monotonic()
    asked = a.manage(lun, 1 if what == "task" else 5, tag if what == "task" else NOBODY)
    a.connections[0].sock.settimeout(6)
    try:
        while True:
            op, of, status, _ = a.next()
            late = after(began, time.monotonic())
            if op == TMF_R and of == asked:
                print(f"abort {what}: response {status} after {late}")
            elif op == COMMAND_R and of == tag:
                print(f"abort {what}: the command's own answer, status {status:02x}, after {late}")
            else:
                print(f"abort {what}: PDU {op:#x}")
    except (TimeoutError, ConnectionError) as e:
        print(f"abort {what}: then {e}")
    print(f"abort {what}: the write was done after {after(began, watch.wait(old, 1))}")


def loss(portals, target, lun, under, left_open, wait, turns, first="session"):
    """Loses sessions of several connections as an initiator does: those connections that
    LEFT_OPEN lists (0,2 or all or none) go on as if their end never reached the target, the
    others are reset; after WAIT seconds the session is reinstated. Meanwhile each connection
    that is left open, or each if none is, has a write with the disk. HOW is what is done
    before the session is reinstated: "connection" reinstates the first connection, by a login
    with the old TSIH; "logout" adds one to the old session and logs the lost ones out over it,
    one after the other."""
    portals, lun, wait = portals.split(","), int(lun), float(wait)
    n = len(portals)
    stay = {"all": set(range(n)), "none": set()}.get(left_open)
    stay = {int(i) for i in left_open.split(",")} if stay is None else stay
    busy, kept, early = sorted(stay) or range(n), [], 0
    for turn in range(int(turns)):
        isid = ISID[:5] + bytes([turn + 16])
        s = Session(portals[0], target, isid=isid)
        for p in portals[1:]:
            s.add(p)
        ready(s, lun)
        old = [text(f"turn {turn} connection {i}") for i in busy]
        watch = Watch(under, old, n)
        for i, what in zip(busy, old):
            data = what.ljust(BLOCK)
            s.command(lun, write16(AT + i * BLOCK, data, s.fua), data, conn=i)
        time.sleep(0.1)
        for i, c in enumerate(s.connections):
            if i not in stay:
                c.reset()
        began = time.monotonic()
        time.sleep(wait)
        if first == "connection":
            c = Connection(portals[0], s, 0)
            try:
                c.login(PLAIN, target)
                print("the connection was reinstated", end="; ")
            except (Refused, OSError) as e:
                print(f"{e} after {after(began, time.monotonic())}", end="; ")
            c.reset()
        elif first == "logout":
            bury(s, portals[0], n)
        b = Session(portals[0], target, isid=isid)
        login = time.monotonic()
        landed = [watch.wait(what, 20) for what in old]
        late = [moment for moment in landed if moment is None or moment > login + 5 * LOOK]
        early += bool(late)
        print(f"turn {turn}: login asked after {wait:.2f} s, answered after {after(began, login)};"
              " the old writes were done after",
              ", ".join(after(began, moment) for moment in landed), flush=True)
        kept.append((s, b))
    print(f"loss: {turns} times the target lives; {early} logins did not wait for the old tasks")


def bury(s, portal, n):
    """Adds a connection to a session whose first N are lost, and closes these by Logouts
    over it. A ping after each is answered when the target has dealt with it."""
    began = time.monotonic()
    try:
        c = s.add(portal)
        for cid in range(n):
            response = s.logout(cid, c)
            s.ping(c)
            print(f"CID {cid}: {response} {after(began, time.monotonic())}", end="; ")
        c.reset()
    except (Refused, OSError) as e:
        print(f"{e} after {after(began, time.monotonic())}", end="; ")


def panic(portals, target, lun):
    """Resets sessions of several connections under load and reinstates them at once."""
    portals, lun = portals.split(","), int(lun)
    for turn in range(20):
        s = Session(portals[0], target)
        for p in portals[1:]:
            s.add(p)
        ready(s, lun)
        for n in range(40):
            s.command(lun, write16(AT + n * 8192, bytes(8192)), bytes(8192), conn=n % len(portals))
        for c in s.connections:
            c.reset()
    print("20 reinstatements of", len(portals), "connections: the target lives")


if __name__ == "__main__":
    questions = {f.__name__: f for f in (keys, attention, unmap, reinstate, abort, loss, panic)}
    try:
        questions[sys.argv[1]](*sys.argv[2:])
    except (Refused, OSError) as e:
        raise SystemExit(f"{sys.argv[1]}: no answer: {e!r}")
