#!/usr/bin/env python3
"""A second reader of kbpack bundles, written from docs/FORMAT.md alone: what shows that the text is enough.

    reader.py BUNDLE IDENTITY SIGNERS OUT

IDENTITY is an age identity file, SIGNERS an OpenSSH allowed_signers file. Trees of the kind `files` are restored to
OUT/<component>, values of the kind `secrets` to OUT/<component>/<list>/<index>. It holds everything in memory and
needs age, zstd and ssh-keygen. The rules and exit codes in its errors are those of docs/FORMAT.md.
"""
import base64, grp, hashlib, json, os, pwd, re, struct, subprocess, sys, tempfile

MIB, TOP, HEX = 1 << 20, (1 << 53) - 1, "[0-9a-f]{64}"

class Refused(Exception):
    pass

def need(holds, code, rule):
    if not holds:
        raise Refused(f"({code}) {rule}")

def sha(data):
    return hashlib.sha256(data).hexdigest()

def run(args, data, code, rule, fds=()):
    done = subprocess.run(args, input=data, capture_output=True, pass_fds=fds)
    need(done.returncode == 0, code, f"{rule}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout

# C: the container

def header(name, size):
    block = bytearray(512)
    for at, text in ((0, name), (100, b"0000600"), (108, b"0000000"), (116, b"0000000"), (124, b"%011o" % size),
                     (136, b"0" * 11), (148, b" " * 8), (156, b"0"), (257, b"ustar\0" b"00"), (329, b"0000000"),
                     (337, b"0000000")):
        block[at:at + len(text)] = text
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)

def container(data):
    """The members, [(name without the folder, content)]."""
    need(re.match(rb"kbpack-[0-9a-f]{16}/README\.txt\0", data), 3, "C2")
    folder, at, found = data[:24], 0, []
    while data[at:at + 1] != b"\0":
        block = data[at:at + 512]
        need(len(block) == 512 and re.fullmatch(rb"[0-7]{11}\0", block[124:136]), 3, "C1, C3")
        name, size = block[:100].rstrip(b"\0"), int(block[124:135], 8)
        need(block == header(name, size), 3, "C3")
        need(name.startswith(folder), 3, "C5")
        name = name[24:].decode("latin-1")
        limit = {"README.txt": 65_536, "KBPACK": 65_536, "SHA256SUMS.sig": 65_536, "SHA256SUMS": 256 * MIB}.get(
            name, 131_072 if name.startswith("keys/") else 8 * MIB)
        need(size, 3, "C10")
        need(size <= limit and len(found) < 2_000_000, 7, "C7, C10")
        end = at + 512 + (size + 511) // 512 * 512
        content, padding = data[at + 512:at + 512 + size], data[at + 512 + size:end]
        need(len(content) == size and padding == bytes(-size % 512), 3, "C1, C12")
        found.append((name, content))
        if len(found) == 2:
            need(name == "KBPACK" and re.fullmatch(rb"kbpack 1\nid [0-9a-f]{64}\n", content), 3, "C2")
            need(folder == b"kbpack-" + content[12:28] + b"/", 3, "C5")
        at = end
    need(data[at:] == bytes(1024) and len(found) > 5, 3, "C6, C13")
    return found

def layout(found):
    """The key files, and the stored bytes of each stream."""
    names = [name for name, _ in found]
    keys = [content for name, content in found if name.startswith("keys/")]
    need(keys and names[2:2 + len(keys)] == [f"keys/{n}.age" for n in range(len(keys))], 3, "C4, C6")
    need(len(keys) <= 32, 7, "C7")
    need(names[-2:] == ["SHA256SUMS", "SHA256SUMS.sig"], 3, "C6")
    streams, order = {}, []
    for name, content in found[2 + len(keys):-2]:
        form = re.fullmatch(r"s/([0-9]{6})/([0-9]{6})", name)
        need(form, 3, "C4, C6")
        parts = streams.setdefault(int(form[1]), [])
        need(int(form[2]) == len(parts) + 1 and all(len(part) == 8 * MIB for part in parts[-1:]), 3, "C8")
        parts.append(content)
        order.append(int(form[1]))
    need(sorted(streams) == list(range(1, len(streams) + 1)), 3, "C9")
    need(len(streams) not in order[:-len(streams[len(streams)])], 3, "C9")
    return keys, [b"".join(streams[number]) for number in sorted(streams)]

# S: sums and seal

def string(value):
    return struct.pack(">I", len(value)) + value

def seal(sums, armor, signers):
    """The signer's fingerprint."""
    try:
        blob = base64.b64decode(b"".join(armor.split(b"\n")[1:-2]), validate=True)
    except ValueError:
        raise Refused("(4) S5")
    text = base64.b64encode(blob)
    lines = [b"-----BEGIN SSH SIGNATURE-----", *(text[at:at + 70] for at in range(0, len(text), 70)),
             b"-----END SSH SIGNATURE-----", b""]
    need(armor == b"\n".join(lines), 4, "S5")
    key = blob[14:65]
    need(blob == b"SSHSIG\0\0\0\1" + string(key) + string(b"kbpack-bundle") + string(b"") + string(b"sha512")
         + string(string(b"ssh-ed25519") + string(blob[-64:])), 4, "S4")
    need(key[:-32] == string(b"ssh-ed25519") + struct.pack(">I", 32), 4, "S4")
    with tempfile.NamedTemporaryFile() as file:
        file.write(armor)
        file.flush()
        more = ["-s", file.name, "-f", signers]
        who = run(["ssh-keygen", "-Y", "find-principals", *more], b"", 4, "S6").decode().split("\n")[0]
        run(["ssh-keygen", "-Y", "verify", "-n", "kbpack-bundle", "-I", who, *more], sums, 4, "S4, S6")
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")

# K and T: keys and streams

AGE = re.compile(rb"age-encryption\.org/v1\n((?:-> [!-~]+(?: [!-~]+)*\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)+)"
                 rb"--- [A-Za-z0-9+/]{43}\n")
KEY = re.compile(rb"# kbpack 1 id=([0-9a-f]{64}) signer=(SHA256:[A-Za-z0-9+/]{43})\n"
                 rb"(AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\n)")

def age_header(data):
    head = AGE.match(data[:65_536])
    need(head, 3, "K2")
    need(len(re.findall(rb"(?m)^-> ", head[1])) <= 32, 7, "K2")
    for work in re.findall(rb"(?m)^-> scrypt \S+ ([0-9]+)$", head[1]):
        need(int(work) <= 20, 7, "K3")

def open_keys(keys, identity, ident, signer):
    """The bundle identity."""
    for data in keys:
        age_header(data)
    damaged = False
    for data in keys:
        done = subprocess.run(["age", "-d", "-i", identity], input=data, capture_output=True)
        if done.returncode:
            damaged |= b"no identity matched" not in done.stderr
            continue
        form = KEY.fullmatch(done.stdout)
        need(form, 6, "K4")
        need(form[1].decode() == ident, 6, "B3")
        need(form[2].decode() == signer, 4, "B4")
        return form[3]
    raise Refused("(3) K1" if damaged else "(5) K1")

def plaintext(stored, secret):
    age_header(stored)
    read, write = os.pipe()  # the bundle identity is never on a disk
    os.write(write, secret)
    os.close(write)
    data = run(["age", "-d", "-i", f"/dev/fd/{read}"], stored, 6, "T2", (read,))
    os.close(read)
    need(data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 6, 6, "T3")
    flags, at = data[4], 5
    need(flags & 0b1111 == 0b100, 6, "T3: a dictionary, no checksum, or a reserved bit")
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    window = (8 + (data[5] & 7)) << (7 + (data[5] >> 3))
    if single:
        window = int.from_bytes(data[5:5 + width], "little") + (256 if width == 2 else 0)
    need(window <= 8 * MIB, 7, "T3")
    at, last = at + width + 1 - single, 0
    while not last:
        block = int.from_bytes(data[at:at + 3], "little")
        need(at + 3 <= len(data) and block >> 1 & 3 != 3, 6, "T3")
        at, last = at + 3 + (1 if block >> 1 & 3 == 1 else block >> 3), block & 1
    at += 4  # the checksum
    zeros = len(data) - at - 8
    need(zeros == -8 or 0 <= zeros <= 4095 and data[at:] == b"\x50\x2a\x4d\x18" + struct.pack("<I", zeros)
         + bytes(zeros), 6, "T4")
    return run(["zstd", "-d", "-c", "-q"], data[:at], 6, "T3")

# M and B: manifest and binding

def parse(data, rule):
    """JSON, as M1 wants it."""
    def pairs(items):
        need(len(dict(items)) == len(items), 6, f"{rule}: a repeated key")
        return dict(items)
    def count(value, depth=1):
        need(depth <= 17, 6, f"{rule}: depth")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        need(depth <= 16 or not isinstance(value, (dict, list)), 6, f"{rule}: depth")
        return 1 + sum(count(each, depth + 1) for each in inner)
    try:
        value = json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=lambda _: need(False, 6, rule))
        json.dumps(value, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except (ValueError, RecursionError) as e:
        raise Refused(f"(6) {rule}: {e}")
    need(count(value) <= 2_000_000, 6, rule)
    return value

def fields(value, rule, **want):
    """`value` must be an object of just these fields. Each has a pattern or a check; in a tuple, it is optional."""
    need(isinstance(value, dict) and set(value) <= set(want), 6, f"{rule}: {value!r:.200}")
    for name, check in want.items():
        need(name in value or isinstance(check, tuple), 6, f"{rule}: no {name}")
        check = check[0] if isinstance(check, tuple) else check
        if isinstance(check, str):
            check = lambda it, form=check: isinstance(it, str) and re.fullmatch(form, it)
        need(name not in value or check(value[name]), 6, f"{rule}: {name}")
    return value

def integer(low, high=TOP):
    return lambda value: type(value) is int and low <= value <= high

def text(value):
    return isinstance(value, str) and 1 <= len(value.encode()) <= 255 and not re.search("[\0-\x1f\x7f-\x9f]", value)

def each(value):
    return isinstance(value, list)

def anything(_):
    return True

def home(value):
    return isinstance(value, list) and all(bounded(1024, 2, r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._+@-]+)+")(it) for it in value)

def bounded(longest=4096, shortest=0, form=r"[^\0]*"):
    return lambda value: isinstance(value, str) and shortest <= len(value.encode()) <= longest and bool(
        re.fullmatch(form, value))

def items(value, check):
    return isinstance(value, list) and len(value) <= 64 and all(check(it) for it in value)

def table(value, name, check):
    return isinstance(value, dict) and len(value) <= 64 and all(name(it) for it in value) and all(
        check(it) for it in value.values())

def run_of(value):
    return items(value, bounded()) and len(value) > 0 and value[0] != ""

def dollars(value):
    return re.fullmatch(r"([^$]|\$\$|\$[A-Za-z_][A-Za-z0-9_]{0,254}(?![A-Za-z0-9_]))*", value) is not None

LINE = "[^\0-\x1f\x7f-\x9f]*"
TOKEN = bounded(255, 1, r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
PATH = bounded(4096, 1, rf"(?!.*(^|/)\.\.?(/|$))(/|~$|~/){LINE}")
VERSION = r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}"
SECRET = ("authorization", "cookie", "proxy-authorization", "x-api-key")

def true(value):
    return isinstance(value, bool)

def scalar(value):
    return isinstance(value, (bool, int, float)) or bounded()(value)

def http_of(probe):
    fields(probe, "M8", url=bounded(4096, 1, r"http://[^/?#@\s]+([/?#][!-~]*)?"), status=(integer(100, 599),),
           method=("GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS",), body=(bounded(65536, 0, r"(?s:.*)"),),
           header=(lambda it: table(it, TOKEN, bounded(4096, 0, LINE)),), json=(lambda it: table(it, bounded(4096, 1), scalar),),
           expect_header=(lambda it: table(it, TOKEN, bounded(4096, 0, LINE)),))
    need(re.fullmatch("[!-~]+", probe["url"]), 6, "M8: url")
    need("body" not in probe or probe.get("method", "GET") not in ("GET", "HEAD", "OPTIONS"), 6, "M8: body")
    texts = [*probe.get("header", {}).values(), probe.get("body", "")]
    need(all(dollars(it) for it in texts), 6, "M8: $")
    need(not any(name.lower() in SECRET and "$" not in it.replace("$$", "") for name, it in probe.get("header", {}).items()), 6, "M8")

def sql_of(probe):
    fields(probe, "M8", url=bounded(4096, 1, rf"(postgresql|postgres)://{LINE}"), query=bounded(4096, 1), equals=(bounded(),),
           recorded=(true,), source_value=(bounded(),))
    need(not re.match(r"[a-z]+://[^/?]*:[^/?]*@|.*password=", probe["url"]), 6, "M8: password")
    need(("equals" in probe) != probe.get("recorded", False), 6, "M8")

def version_of(probe):
    fields(probe, "M8", run=run_of, at_least=(VERSION,), equal_to_source=(true,), source_value=(VERSION,))
    need(("at_least" in probe) != probe.get("equal_to_source", False), 6, "M8")

def file_of(probe):
    fields(probe, "M8", path=PATH, exists=(true,), type=("file|directory|symlink",), mode=("[0-7]{3,4}",), owner=(text,),
           min_size=(integer(0),), sha256=(HEX,))
    need(probe.get("exists", True) or set(probe) <= {"path", "exists"}, 6, "M8")

def command_of(probe):
    fields(probe, "M8", run=run_of, directory=(PATH,), exit=(integer(0, 255),), stdout_matches=(bounded(4096, 1),))

def checks_of(checks):
    need(isinstance(checks, list) and 1 <= len(checks) <= 256, 6, "M7")
    kinds = {"command": command_of, "http": http_of, "sql": sql_of, "file": file_of, "version": version_of,
             "tcp": lambda it: fields(it, "M8", address=text),
             "env": lambda it: fields(it, "M8", name="[A-Za-z_][A-Za-z0-9_]{0,254}", equals=(bounded(),))}
    # The names of fields in this reader have _ for -.
    plain = lambda it: {name.replace("-", "_") if "_" not in name else "": value for name, value in it.items()}
    for check in checks:
        need(isinstance(check, dict), 6, "M7")
        check = fields(plain(check), "M7", name=text, severity=("error|warn",), timeout=(integer(1, 600),),
                       retry_for=(integer(0, 600),), **{kind: (anything,) for kind in kinds})
        kind = [kind for kind in kinds if kind in check]
        need(len(kind) == 1 and isinstance(check[kind[0]], dict), 6, "M7")
        need(check.get("retry_for", 0) == 0 or kind[0] in ("command", "http", "sql", "tcp"), 6, "M7")
        probe = plain(check[kind[0]])
        kinds[kind[0]](probe)
        need(("source_value" in probe) == (probe.get("recorded", False) or probe.get("equal_to_source", False)), 6, "M8")
    need(len({check["name"] for check in checks}) == len(checks), 6, "M7")
    return True

def hooks_of(hooks):
    need(isinstance(hooks, list) and 1 <= len(hooks) <= 64, 6, "M9")
    for hook in hooks:
        fields(hook, "M9", stage="quiesce|resume|after-commit|rollback", run=run_of, directory=(PATH,), timeout=(integer(1, 3600),),
               shell=(true,), severity=("error|warn",), optional=(true,),
               env=(lambda it: table(it, bounded(255, 1, "[A-Za-z_][A-Za-z0-9_]*"), bounded()),))
        need(not hook.get("shell", False) or len(hook["run"]) == 1, 6, "M9: shell")
        need("severity" not in hook or hook["stage"] in ("quiesce", "after-commit"), 6, "M9: severity")
    return True

SEEN = "[^\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]*"

def todos_of(todos):
    need(isinstance(todos, list) and 1 <= len(todos) <= 64, 6, "M10")
    for todo in todos:
        fields(todo, "M10", text=text, run=(lambda it: items(it, bounded(1024, 0, SEEN)) and len(it) > 0,), unless=(anything,))
        if "unless" in todo:
            unless = fields(todo["unless"], "M10", program=("[A-Za-z0-9_+][A-Za-z0-9._+-]{0,63}",), path=(PATH,), port=(integer(1, 65535),))
            need(len(unless) == 1, 6, "M10: unless")
    need(len({todo["text"] for todo in todos}) == len(todos), 6, "M10")
    return True

def manifest(data, ident, count):
    need(len(data) <= 64 * MIB, 7, "T6, M1")
    time, name, part = integer(0, 253402300799), "[a-z0-9][a-z0-9_-]{0,63}", r"(?!\.\.?(?:/|$))[a-z0-9_.-]+"
    top = fields(parse(data, "M1"), "M2", format=integer(1, 1), id=HEX, created=time, expires=(time,), targets=each,
                 sequence=integer(1), profile=text, origin=anything, components=each, checks=(checks_of,),
                 hooks=(hooks_of,), todos=(todos_of,))
    need(top["id"] == ident, 6, "B2")
    need(top.get("expires", TOP) > top["created"], 6, "M2")
    fields(top["origin"], "M3", host=text, user=text, os=text, arch=text, kbpack=text, signer="SHA256:[A-Za-z0-9+/]{43}")
    for target in top["targets"]:
        fields(target, "M4", host=text, nonce=(HEX,))
    for component in top["components"]:
        fields(component, "M5", name=name, kind=name, facts=anything, streams=each)
        for stream in component["streams"]:
            fields(stream, "M6", number=integer(1), name=f"(?=.{{1,128}}$){part}(/{part})*", size=integer(0),
                   sha256=HEX, stored_size=integer(0), stored_sha256=HEX)
        need(len({stream["name"] for stream in component["streams"]}) == len(component["streams"]), 6, "M6")
    need(len({c["name"] for c in top["components"]}) == len(top["components"]) <= 256, 6, "M5")
    numbers = sorted(stream["number"] for c in top["components"] for stream in c["streams"])
    need(numbers == list(range(1, count)), 6, "M6, B5")
    return top

# F: the kind files

def raw(value, rule):
    """The bytes of a text form."""
    need(isinstance(value, str) and not re.search("%(?![0-9A-F]{2})|[\0-\x1f\x7f-\x9f]", value), 6, rule)
    data = re.sub(rb"%(..)", lambda hit: bytes([int(hit[1], 16)]), value.encode())
    again = re.sub("[%\0-\x1f\x7f-\x9f\udc80-\udcff]", lambda hit: "".join(
        "%%%02X" % byte for byte in hit[0].encode(errors="surrogateescape")), data.decode(errors="surrogateescape"))
    need(again == value, 6, f"{rule}: another text form")
    return data

def meta_of(value, rule="F2"):
    fields(value, rule, mode="[0-7]{4}", mtime=r"(?!-0\.)-?(0|[1-9][0-9]*)\.[0-9]{9}", uid=integer(0, 2**32 - 1),
           gid=integer(0, 2**32 - 1), user=(text,), group=(text,), xattrs=(lambda it: isinstance(it, dict),))
    for name, data in value.get("xattrs", {}).items():
        need(re.fullmatch("user\\.[^%=\0-\x1f\x7f-\x9f]+|system\\.posix_acl_(access|default)", name), 6, "F3")
        need(isinstance(data, str) and re.fullmatch("([0-9a-f]{2})*", data), 6, "F2")
    return value

KINDS = {"file": dict(size=integer(0), sha256=HEX, stored=(integer(512),), meta=meta_of), "dir": dict(meta=meta_of),
         "symlink": dict(target=anything, meta=meta_of), "link": dict(first=anything)}

def rows_of(data, shards, facts):
    rows, seen, before = [], {}, b""
    need(not data or data.endswith(b"\n"), 6, "F2")
    for line in data.split(b"\n")[:-1]:
        need(len(line) <= MIB, 6, "F2")
        row = parse(line, "F2")
        kind = row.get("type") if isinstance(row, dict) else None
        need(kind in KINDS, 6, "F2")
        fields(row, "F3", path=anything, type=kind, shard=integer(1, shards), **KINDS[kind])
        row["raw"], row["to"] = raw(row["path"], "F2"), raw(row.get("target", row.get("first", "")), "F2")
        parts, mode = row["raw"].split(b"/"), int(row.get("meta", {}).get("mode", "0"), 8)
        need(len(row["raw"]) < 4096 and b"\0" not in row["raw"] and len(parts) <= 512 and all(
            1 <= len(part) <= 255 and part not in (b".", b"..") for part in parts), 6, "F4")
        need(row["raw"] > before and not any(part.startswith(b".kbpack-stage-") for part in parts), 6, "F4")
        need(len(parts) == 1 or seen.get(row["raw"].rpartition(b"/")[0]) == "dir", 6, "F5")
        need(kind != "link" or seen.get(row["to"]) == "file", 6, "F6")
        need(kind != "symlink" or 1 <= len(row["to"]) <= 4095 and b"\0" not in row["to"], 6, "F2")
        need(not mode & {"file": 0o7000, "dir": 0o4000}.get(kind, 0), 6, "F3")
        need(kind != "symlink" or mode == 0o777 and not row["meta"].get("xattrs"), 6, "F3")
        rows.append(row)
        seen[row["raw"]], before = kind, row["raw"]
    need(facts["entries"] == len(rows) and facts["bytes"] == sum(row.get("size", 0) for row in rows) <= TOP, 6, "F1")
    return rows

def nanoseconds(meta):
    seconds, rest = meta["mtime"].split(".")
    return int(seconds) * 10**9 + int(rest)

def ustar(name, mode, uid, gid, size, mtime, flag, link=b"", uname=b"", gname=b""):
    block = struct.pack("100s8s8s8s12s12s8sc100s8s32s32s183x", name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid,
                        b"%011o" % size, b"%011o" % mtime, b" " * 8, flag, link, b"ustar\0" b"00", uname, gname)
    return block[:148] + b"%07o\0" % sum(block) + block[156:]

def entry(row):
    """The one right header of a row's entry: F7."""
    kind, meta, size, holes = row["type"], row.get("meta", {}), row.get("stored", row.get("size", 0)), "stored" in row
    name = row["raw"] + (b"/" if kind == "dir" else b"")
    name = b"GNUSparseFile.0/" + name.split(b"/")[-1] if holes else name
    uid, gid, when = meta.get("uid", 0), meta.get("gid", 0), nanoseconds(meta) if meta else 0
    user, group = meta.get("user", "").encode(), meta.get("group", "").encode()
    fits, late = lambda it: it.isascii() and len(it) <= 31, not 0 <= when < 10**9 << 33
    records = [(key, value) for key, value, wanted in (
        (b"path", name, len(name) > 100 and not holes), (b"linkpath", row["to"], len(row["to"]) > 100),
        (b"size", b"%d" % size, size >= 1 << 33), (b"uid", b"%d" % uid, uid >= 1 << 21),
        (b"gid", b"%d" % gid, gid >= 1 << 21), (b"uname", user, not fits(user)), (b"gname", group, not fits(group)),
        (b"mtime", b"-"[:when < 0] + b"%d.%09d" % divmod(abs(when), 10**9), late or when % 10**9),
        (b"GNU.sparse.major", b"1", holes), (b"GNU.sparse.minor", b"0", holes),
        (b"GNU.sparse.name", row["raw"], holes), (b"GNU.sparse.realsize", b"%d" % row.get("size", 0), holes)) if wanted]
    records += sorted((b"SCHILY.xattr." + key.encode(), bytes.fromhex(value))
                      for key, value in meta.get("xattrs", {}).items())
    pax = b""
    for key, value in records:
        rest, length = b" " + key + b"=" + value + b"\n", 0
        while length != len(b"%d" % length + rest):
            length = len(b"%d" % length + rest)
        pax += b"%d" % length + rest
    head = ustar(b"././@PaxHeader", 0o600, 0, 0, len(pax), 0, b"x") + pax + bytes(-len(pax) % 512) if pax else b""
    return head + ustar(name[:100], int(meta.get("mode", "0"), 8), uid if uid < 1 << 21 else 0, gid if gid < 1 << 21 else 0,
                        size if size < 1 << 33 else 0, 0 if late else when // 10**9,
                        dict(file=b"0", link=b"1", symlink=b"2", dir=b"5")[kind], row["to"][:100],
                        user if fits(user) else b"", group if fits(group) else b"")

def pieces(row, data):
    """The pieces of a file's content, [(offset, bytes)]: F8."""
    if "stored" not in row:
        return [(0, data)]
    count = re.match(rb"[1-9][0-9]{0,5}\n", data)
    need(count and int(count[0]) <= 100_001, 6, "F8")
    numbers = [int(line) for line in data.split(b"\n", 2 * int(count[0]) + 1)[:-1] if re.fullmatch(rb"[0-9]{1,19}", line)]
    lines, found, end = b"".join(b"%d\n" % number for number in numbers), [], -1
    at = len(lines) + -len(lines) % 512
    need(len(numbers) == 2 * int(count[0]) + 1 and data[:at] == lines + bytes(-len(lines) % 512), 6, "F8")
    for offset, length in zip(numbers[1::2], numbers[2::2]):
        need(end < offset and length or offset == row["size"] and not length and end < offset, 6, "F8")
        found.append((offset, data[at:at + length]))
        at, end = at + length, offset + length
    need(end == row["size"] and at == len(data), 6, "F8")
    return found

def unpack(rows, shards):
    """Holds the shards to the rows; each file's row gets its pieces."""
    for number, shard in enumerate(shards, 1):
        mine, at = [row for row in rows if row["shard"] == number], 0
        for row in [r for r in mine if r["type"] != "dir"] + [r for r in reversed(mine) if r["type"] == "dir"]:
            head, size = entry(row), row.get("stored", row.get("size", 0))
            end = at + len(head) + size
            need(shard.startswith(head, at), 6, f"F7: {row['path']}")
            need(len(shard) > end and shard[end:end + -size % 512] == bytes(-size % 512), 6, "F7: padding")
            if row["type"] == "file":
                row["pieces"], digest, done = pieces(row, shard[at + len(head):end]), hashlib.sha256(), 0
                for offset, data in row["pieces"]:
                    digest.update(bytes(offset - done) + data)
                    done = offset + len(data)
                need(digest.hexdigest() == row["sha256"], 6, "F9")
            at = end + -size % 512
        need(shard[at:] == bytes(1024), 6, "F7: the end")

def number_of(find, name, number):
    try:
        return find(name)[2]
    except KeyError:
        return number

def dress(where, meta, link=False):
    if os.geteuid() == 0:
        os.chown(where, number_of(pwd.getpwnam, meta.get("user", ""), meta["uid"]),
                 number_of(grp.getgrnam, meta.get("group", ""), meta["gid"]), follow_symlinks=False)
    if not link:
        for name, value in meta.get("xattrs", {}).items():
            os.setxattr(where, name.encode(), bytes.fromhex(value))
        os.chmod(where, int(meta["mode"], 8))
    os.utime(where, ns=(nanoseconds(meta),) * 2, follow_symlinks=False)

def restore(rows, facts, out):
    os.makedirs(out)
    for row in rows:
        where = os.path.join(out, row["raw"])
        if row["type"] == "dir":
            os.mkdir(where, 0o700)
        elif row["type"] == "link":
            os.link(os.path.join(out, row["to"]), where)
        elif row["type"] == "symlink":
            os.symlink(row["to"], where)
            dress(where, row["meta"], link=True)
        else:
            with open(where, "xb") as file:
                file.truncate(row["size"])
                for offset, data in row["pieces"]:
                    file.seek(offset)
                    file.write(data)
            dress(where, row["meta"])
    for row in reversed(rows):
        if row["type"] == "dir":
            dress(os.path.join(out, row["raw"]), row["meta"])
    if "top" in facts:
        dress(out, facts["top"])

def files(facts, streams, out):
    fields(facts, "F1", root="(?s)(/|~(/|$)).*", state="directory|file|absent", options=anything, only=(each,),
           top=(meta_of,), homes=(home,), entries=integer(0), bytes=integer(0))
    fields(facts["options"], "F1", exclude=(each,), runs=(each,), mode=("overlay|mirror",), symlinks=("keep|replace|write-through",),
           **{"one-filesystem": (lambda it: isinstance(it, bool),), "rewrite-home": (each,)})
    need(len(facts.get("homes", ())) <= 4 and bool(facts.get("homes")) == bool(facts["options"].get("rewrite-home")), 6, "F1")
    shards = [f"tree/{number:06}" for number in range(1, len(streams))]
    need(set(streams) == {*shards, "index"}, 6, "F1")
    rows = rows_of(streams["index"], len(shards), facts)
    need("top" not in facts or facts["state"] == "directory" and "only" not in facts, 6, "F1")
    need(len(rows) <= {"absent": 0, "file": 1}.get(facts["state"], len(rows)), 6, "F1")
    need(facts["state"] != "file" or all(row["type"] == "file" and b"/" not in row["raw"] for row in rows), 6, "F1")
    unpack(rows, [streams[name] for name in shards])
    return lambda: restore(rows, facts, os.fsencode(out))

# X: the kind secrets

def argv(it):
    return isinstance(it, list) and 1 <= len(it) <= 100 and it[0] != "" and all(
        isinstance(word, str) and len(word.encode()) <= 4096 and "\0" not in word for word in it)

def way(entry, secrets, of):  # X1, X2: the policy of an entry, and what it asks of the rest
    policy, how = entry["policy"], entry.get("how")
    command = isinstance(policy, dict)
    need(policy in ("copy", "prompt", "reissue", "host-bound") or command and list(policy) == ["command"]
         and argv(policy["command"]), 6, "X1")
    need("how" not in entry or isinstance(how, str) and re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]{1,200}", how), 6, "X1")
    need((not command or secrets == 1) and ("how" not in entry or policy == "reissue"), 6, f"X2: {of}")

def secrets(facts, streams, out):
    for it in facts.get("env", []):
        way(it, len(it["names"]), it["file"])
    for it in facts.get("files", []):
        way(it, 1, it["path"])
    if "pgpass" in facts:
        way(facts["pgpass"], len(facts["pgpass"]["lines"]), "pgpass")
    need(list(streams) == ["values"] and len(streams["values"]) <= 64 * MIB, 6, "X3")
    values, found = fields(parse(streams["values"], "X3"), "X4", env=each, pgpass=each, files=each), []
    pgpass = facts.get("pgpass", {"lines": [], "policy": "copy"})
    want = {"env": [{"file": it["file"], "name": name} for it in facts.get("env", []) if it["policy"] == "copy"
                    for name in it["names"]],
            "pgpass": [{"line": line} for line in pgpass["lines"] if pgpass["policy"] == "copy"],
            "files": [{"path": it["path"]} for it in facts.get("files", []) if it["policy"] == "copy"]}
    for kind, items in values.items():
        found += [(f"{out}/{kind}/{at}", base64.b64decode(it.pop("value"), validate=True)) for at, it in enumerate(items)]
        need(items == want[kind], 6, "X4")
    def write():
        for where, value in found:
            os.makedirs(os.path.dirname(where), exist_ok=True)
            with open(where, "xb") as file:
                file.write(value)
    return write

def main(bundle, identity, signers, out):
    with open(bundle, "rb") as file:
        found = container(file.read())
    (keys, stored), ident, sums = layout(found), found[1][1][12:76].decode(), found[-2][1]
    signer = seal(sums, found[-1][1], signers)
    need(sums == b"".join(f"{sha(content)}  {name}\n".encode() for name, content in found[:-2]), 3, "S1 to S3")
    secret, acts = open_keys(keys, identity, ident, signer), []
    for component in manifest(plaintext(stored[-1], secret), ident, len(stored))["components"]:
        streams = {}
        for info in component["streams"]:
            data = stored[info["number"] - 1]
            need((len(data), sha(data)) == (info["stored_size"], info["stored_sha256"]), 6, "B5")
            streams[info["name"]] = data = plaintext(data, secret)
            need((len(data), sha(data)) == (info["size"], info["sha256"]), 6, "B5")
        need(component["kind"] in ("files", "secrets"), 6, "M5")
        kind = files if component["kind"] == "files" else secrets
        acts.append(kind(component["facts"], streams, os.path.join(out, component["name"])))
    for act in acts:  # nothing is written before everything holds
        act()

if __name__ == "__main__":
    os.umask(0o077)
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(f"refused: {refused}")
