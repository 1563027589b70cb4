"""The labelled sets of detection.py: records to fit, to calibrate and to test, and the oddities among the last.

  synth       The built-in log source, split by time, with its own attacks.
  azure       Azure AD sign-ins with planted oddities, five of each kind.
  apache      Lines of an Apache web server, likewise.
  windows     Windows events of a T1047 attack, likewise.
  cloudtrail  CloudTrail of one company against that of Stratus Red Team, which is given the order of members, accounts, agents,
              addresses, regions, TLS details and times of the company, so that only what it does is left to be found.
  hdfs        Sessions of HDFS_v1 (deep-loglizer's split), each the list of its events.

All sets but the first draw from one sequence of random numbers, so they are always made together and always the same.
"""
import copy
import gzip
import json
import random
import re
from collections import Counter
from dataclasses import dataclass

APACHE = re.compile(r'^(\S+) (\S+) (\S+) \[(.*?)\] "(\S+) (\S+) (\S+)" (\d+) (\S+) "(.*?)" "(.*?)"$')
APACHE_FIELDS = "client ident user time method target protocol status bytes referrer agent".split()
NAMES = ["synth", "azure", "apache", "windows", "cloudtrail", "hdfs"]
FOLDERS = ["azure-ad", "apache", "windows-attack", "cloudtrail", "stratus", "hdfs-sessions"]
PLANTED_EACH = 5


@dataclass
class Odd:
    """An odd record of a test set: its line and kind. Where it was planted, `paths` are those that differ from the normal
    record that it was made of, and `is_new` and `is_new_where_values_recur` say whether one of them has a value that no record
    to fit or calibrate has there, and whether so at a path where at most one in twenty values stands once."""
    line: str
    kind: str
    paths: set = None
    is_new: bool = False
    is_new_where_values_recur: bool = False


@dataclass
class LogSet:
    """The lines of a set. `fit` trains, `cal` calibrates, `normals` and the lines of `odd` are tested."""
    name: str
    fit: list
    cal: list
    normals: list
    odd: list

    def write(self, folder):
        test = self.normals + [odd.line for odd in self.odd]
        for part, lines in (("fit", self.fit), ("cal", self.cal), ("test", test)):
            (folder / f"{self.name}.{part}").write_text("".join(line + "\n" for line in lines))


def leaves(value, path=""):
    """Yields the paths and values of the leaves of a JSON value, as logwright names them."""
    members = value.items() if isinstance(value, dict) else [("*", x) for x in value] if isinstance(value, list) else []
    for name, member in members:
        yield from leaves(member, f"{path}.{name}" if path else name)
    if not members:
        yield path, json.dumps(value)


def fields(line):
    """Returns the (path, value) pairs of a record."""
    if line.startswith("{"):
        return list(leaves(json.loads(line)))
    found = APACHE.match(line)
    return list(zip(APACHE_FIELDS, found.groups())) if found else []


def recurring_paths(counts):
    """Returns the paths whose values recur, of a counter of (path, value) pairs: at most one in twenty was seen once."""
    all_values, once = Counter(), Counter()
    for (path, _), count in counts.items():
        all_values[path] += count
        once[path] += count == 1
    return {path for path in all_values if once[path] <= 0.05 * all_values[path]}


def dump(records):
    return [json.dumps(record, ensure_ascii=False) for record in records]


def split(rng, records, *sizes):
    """Returns random parts of the records with these sizes."""
    records, parts, begin = records[:], [], 0
    rng.shuffle(records)
    for size in sizes:
        parts.append(records[begin:begin + size])
        begin += size
    return parts


def plant(rng, name, parts, changes):
    """Returns the set with five odd records of each kind. A change returns a record of the test as an odd one; where it cannot
    and returns None, another record is drawn."""
    line = lambda record: record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
    fit, cal, normals = ([line(record) for record in part] for part in parts)
    known = Counter(field for normal in fit + cal for field in fields(normal))
    recurring = recurring_paths(known)
    odd = []
    for kind, change in changes.items():
        done = 0
        for _ in range(1000):
            if done == PLANTED_EACH:
                break
            before = rng.choice(parts[2])
            after = change(copy.deepcopy(before))
            if after is None:
                continue
            differing = [field for field in fields(line(after)) if field not in fields(line(before))]
            new = {path for path, value in differing if (path, value) not in known}
            odd.append(Odd(line(after), kind, {path for path, _ in differing}, bool(new), bool(new & recurring)))
            done += 1
    return LogSet(name, fit, cal, normals, odd)


def put(path, value):
    """Returns a change that puts a value, or what a function draws for the record, at a path that the record has."""
    def change(record):
        holder, names = record, path.split(".")
        for name in names[:-1]:
            holder = holder.get(name)
            if not isinstance(holder, dict):
                return None
        if names[-1] not in holder:
            return None
        holder[names[-1]] = value(record) if callable(value) else value
        return record
    return change


def synth(program, work, count=8000):
    labels = work / "synth.labels"
    records = program("synth", "-n", count, "--seed", 1, "--attacks", 0.05, "--labels", labels).splitlines()
    kinds = [json.loads(line)["attack"] for line in labels.read_text().splitlines()]
    normal = lambda begin, end: [records[i] for i in range(begin, end) if not kinds[i]]
    fit_end, test_begin = int(0.6 * count), int(0.75 * count)
    odd = [Odd(records[i], kinds[i]) for i in range(test_begin, count) if kinds[i]]
    return LogSet("synth", normal(0, fit_end), normal(fit_end, test_begin), normal(test_begin, count), odd)


def azure(rng, data):
    lines = (data / "azure-ad" / "azure_ad.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    parts, users = split(rng, records, 140, 60, 50), [record["identity"] for record in records]

    def new_address(record):
        address = f"185.220.101.{rng.randrange(1, 250)}"
        record["callerIpAddress"] = record["properties"]["ipAddress"] = address
        return record

    def new_country(record):
        record["location"] = "KP"
        record["properties"]["location"].update(city="Pyongyang", state="P", countryOrRegion="KP")
        return record

    return plant(rng, "azure", parts, {
        "new address": new_address,
        "new country": new_country,
        "operating system": put("properties.deviceDetail.operatingSystem", "Kali Linux"),
        "agent": put("properties.userAgent", "python-requests/2.28.1"),
        "application": put("properties.appDisplayName", "Azure Active Directory PowerShell"),
        "client": put("properties.clientAppUsed", "IMAP4"),
        "risk": put("properties.riskLevelDuringSignIn", "high"),
        "result": put("resultType", "50126"),
        "duration": put("durationMs", 98765),
        "other user": put("identity", lambda r: rng.choice([user for user in users if user != r["identity"]])),
        "category": put("category", "ServicePrincipalSignInLogs"),
        "not managed": put("properties.deviceDetail.trustType", ""),
    })


def apache(rng, data):
    with gzip.open(data / "apache" / "apache.log.gz", "rt") as file:
        parts = split(rng, [line.rstrip("\n") for line in file], 5000, 2000, 3000)

    def put_field(name, value):
        def change(line):
            found = APACHE.match(line)
            if not found:
                return None
            values = list(found.groups())
            at = APACHE_FIELDS.index(name)
            values[at] = value(values[at]) if callable(value) else value
            return '%s %s %s [%s] "%s %s %s" %s %s "%s" "%s"' % tuple(values)
        return change

    one_of = lambda *choices: lambda _: rng.choice(choices)
    agents = ["sqlmap/1.5.2#stable (http://sqlmap.org)", "Nikto/2.1.6", "() { :; }; /bin/bash -c id"]
    return plant(rng, "apache", parts, {
        "method": put_field("method", one_of("PROPFIND", "DELETE", "TRACE")),
        "injection": put_field("target", lambda old: old + "?id=1%27%20UNION%20SELECT%20user,pass%20FROM%20users--"),
        "traversal": put_field("target", "/../../../../etc/passwd"),
        "agent": put_field("agent", one_of(*agents)),
        "status": put_field("status", one_of("418", "507", "401")),
        "bytes": put_field("bytes", lambda _: str(rng.randrange(10**10, 10**11))),
        "referrer": put_field("referrer", "http://evil.example/phish.php?x=%00"),
        "user": put_field("user", "administrator"),
        "protocol": put_field("protocol", "HTTP/0.9"),
        "web shell": put_field("target", "/wp-content/uploads/c99.php?cmd=whoami"),
    })


def windows(rng, data):
    with gzip.open(data / "windows-attack" / "T1047_atomic_red_team.jsonl.gz", "rt") as file:
        parts = split(rng, [json.loads(line) for line in file], 3000, 1000, 1000)

    def in_message(pattern, text):
        def change(record):
            before = record.get("Message", "")
            record["Message"] = re.sub(pattern, lambda _: text, before, count=1)
            return record if record["Message"] != before else None
        return change

    encoded = "powershell -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoA"
    return plant(rng, "windows", parts, {
        "image": in_message(r"SourceImage: [^\r]*", r"SourceImage: C:\Users\Public\mimikatz.exe"),
        "access": in_message(r"GrantedAccess: 0x\w+", "GrantedAccess: 0x1f3fff"),
        "command": in_message(r"CommandLine: [^\r]*", f"CommandLine: {encoded}"),
        "host": put("Hostname", "kali.attacker.local"),
        "account": put("AccountName", "svc_backd00r"),
        "event": put("EventID", 1102),
        "channel": put("Channel", "Microsoft-Windows-PowerShell/Operational"),
        "severity": put("Severity", "CRITICAL"),
        "domain": put("Domain", "EVILCORP"),
        "user id": put("UserID", "S-1-5-21-999-999-999-500"),
        "thread": put("ThreadID", 99999999),
        "task": put("Task", 31337),
    })


def member_order(records):
    """Returns a function that puts the members of a JSON value into the order in which the records have them."""
    orders = {}

    def learn(value, path=""):
        for member in value if isinstance(value, list) else []:
            learn(member, path + ".*")
        for name, member in value.items() if isinstance(value, dict) else []:
            order = orders.setdefault(path, {})
            order.setdefault(name, len(order))
            learn(member, f"{path}.{name}")

    def arranged(value, path=""):
        if isinstance(value, list):
            return [arranged(member, path + ".*") for member in value]
        if not isinstance(value, dict):
            return value
        order = orders.get(path, {})
        names = sorted(value, key=lambda name: order.get(name, len(order)))
        return {name: arranged(value[name], f"{path}.{name}") for name in names}

    for record in records:
        learn(record)
    return arranged


def cloudtrail(rng, data):
    of = lambda *path: [json.loads(line) for line in gzip.open(data.joinpath(*path), "rt")]
    # Some normal records are of the attack tool, which would betray the attacks by its name alone.
    agents = ("stratus-red-team", "[stratus-red-team")
    records = [r for r in of("cloudtrail", "cloudtrail.jsonl.gz") if not str(r.get("userAgent", "")).startswith(agents)]
    parts, arranged = split(rng, records, 1300, 400, 441), member_order(records)

    def aligned(attack):
        model = rng.choice(records)
        text = json.dumps(attack)
        for account in set(re.findall(r"\b\d{12}\b", text)):
            text = text.replace(account, model["recipientAccountId"])
        attack = json.loads(text)
        for name in ("userAgent", "sourceIPAddress", "awsRegion", "eventTime", "eventVersion"):
            if name in attack:
                attack[name] = model[name]
        if "tlsDetails" in attack:
            attack["tlsDetails"] = model.get("tlsDetails")
            if attack["tlsDetails"] is None:
                del attack["tlsDetails"]
        return arranged(attack)

    attacks = of("stratus", "detonation_cloudtrail.jsonl.gz")
    odd = [Odd(line, a["technique"]) for a, line in zip(attacks, dump([aligned(a["event"]) for a in attacks]))]
    return LogSet("cloudtrail", *map(dump, parts), odd)


def hdfs_sessions(data):
    """Returns a function from split and label to its sessions."""
    with gzip.open(data / "hdfs-sessions" / "hdfs100k_sessions.jsonl.gz", "rt") as file:
        sessions = [json.loads(line) for line in file]
    return lambda part, label: [s["events"] for s in sessions if (s["split"], s["label"]) == (part, label)]


def hdfs(rng, data):
    sessions = hdfs_sessions(data)
    line = lambda events: json.dumps({"events": events}, separators=(",", ":"))
    normal = list(map(line, sessions("train", 0)))
    rng.shuffle(normal)
    odd = [Odd(line(events), "hdfs") for events in sessions("test", 1)]
    return LogSet("hdfs", normal[:4500], normal[4500:], list(map(line, sessions("test", 0))), odd)


def make(program, data, work):
    """Returns all sets, by their names. `program` runs logwright; `work` is a folder for its files."""
    rng = random.Random(7)
    drawn = [make(rng, data) for make in (azure, apache, windows, cloudtrail, hdfs)]
    return {log_set.name: log_set for log_set in [synth(program, work), *drawn]}
