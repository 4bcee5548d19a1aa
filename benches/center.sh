#!/usr/bin/env bash
# The Center under load, over real CoAP and HTTP on loopback: what a device costs from 1,000 to 100,000 of them, seconds
# from activating a plan to the first offer, pages and lists while 2,000 devices a second report, memory, an upload. Beside
# it in the same run an empty axum route and bare commits of SQLite. Prints a table and writes it into docs/performance.md.
# It stops by itself. The devices and the one who measures share the processors with the Center.
#   benches/center.sh [sizes, with commas]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build -q --release
cargo build -q --release -p sota-center --example fleet --example baseline
exec python3 - "${CARGO_TARGET_DIR:-target}/release" "${1:-1000,10000,100000}" <<'PY'
import contextlib, http.client, json, math, os, pathlib, platform, socket, statistics, subprocess, sys, tempfile, threading, time

sys.path.insert(0, "tests/peers")
from center_peer import Center

BIN, SIZES = pathlib.Path(sys.argv[1]), [int(size) for size in sys.argv[2].split(",")]
TICK = os.sysconf("SC_CLK_TCK")
UPDATES, RATE, SECONDS, LOOKS, OPEN_PAGES = 100_000, 2_000, 40, 100, 4
UPLOAD = 100 << 20


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024


def p95(values):
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Fleet:
    """The devices; one line says what they do, one answers when it is done."""

    def __init__(self, port):
        command = [BIN / "examples/fleet", "load", "--server", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first_offer, self.answers = None, []
        self.came = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            value = json.loads(line)
            with self.came:
                if "first_offer_unix" in value:
                    self.first_offer = value["first_offer_unix"]
                else:
                    self.answers.append(value)
                self.came.notify_all()

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, limit=900):
        with self.came:
            if not self.came.wait_for(lambda: self.answers, limit):
                raise SystemExit("FAILED: the devices do not answer")
            answer = self.answers.pop()
        say(answer)
        return answer

    def does(self, line):
        self.begin(line)
        return self.end()

    def stop(self):
        self.process.kill()
        self.process.wait()


def until_rest(pid, fleet, line):
    """Does it; seconds until it is answered and the Center has done what it left for later. Bounded: it never rests long."""
    began = time.time()
    answer = fleet.does(line)
    while True:
        before, at = cpu(pid), time.time()
        time.sleep(0.2)
        if cpu(pid) - before <= 0.04 or at - began > 600:
            return answer, max(at - began, answer["seconds"])


class Pages:
    """One keep-alive connection, as a browser's."""

    def __init__(self, port, token=""):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def seconds(self, path):
        began = time.perf_counter()
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        answer.read()
        taken = time.perf_counter() - began
        if answer.status >= 400:
            raise SystemExit(f"FAILED: GET {path}: {answer.status}")
        return taken


def port_of(base):
    return int(base.rsplit(":", 1)[1])


def furnish(rest):
    project, product, _ = rest.furnish("fleet")
    model = rest.post("/api/v1/models", {"project": project, "name": "two", "device_model": "M2", "components": [
        {"identifier": "firmware", "name": "firmware", "type": "Firmware"},
        {"identifier": "STM32", "name": "motor", "type": "MCU"}]})["id"]
    package = rest.upload(b"x" * 50_000, project=project, name="p", component_type="MCU", target_version="2_0")["id"]
    body = {"project": project, "name": "plan", "product": product, "model": model,
            "components": [{"component": "STM32", "package": package}]}
    plan = rest.post("/api/v1/plans", body)["id"]
    saved = rest.post("/api/v1/plans", body | {"name": "saved"})["id"]
    return project, model, package, plan, saved


def curve(size, rows):
    """A fresh Center with so many devices; goes on with the rest at the last size."""
    with tempfile.TemporaryDirectory(dir=BIN) as data, Center(BIN / "sota", data) as center:
        pid, rest = center.process.pid, center.rest
        ids = furnish(rest)
        fleet = Fleet(center.coap_port)
        try:
            before, empty = cpu(pid), resident(pid)
            registered, register_s = until_rest(pid, fleet, f"register {size}")
            after = cpu(pid)
            until_rest(pid, fleet, "versions")
            versions = cpu(pid)
            updated, update_s = until_rest(pid, fleet, f"update {UPDATES}")
            updates = cpu(pid)
            lost = updated["lost"] + updated["refused"]
            if lost:
                raise SystemExit(f"FAILED: {lost} requests were refused or lost")
            row = {
                "devices": size, "register": (after - before) / size * 1000, "versions": (versions - after) / size * 1000,
                "update": (updates - versions) / UPDATES * 1000, "registrations_s": size / register_s, "updates_s": UPDATES / update_s, "resident": resident(pid),
                "each_kib": (resident(pid) - empty) * 1024 / size}
            say(row)
            rows.append(row)
            if size == SIZES[-1]:
                return load(center, fleet, ids, size)
        finally:
            fleet.stop()


def load(center, fleet, ids, size):
    project, model, package, plan, saved = ids
    pid, rest = center.process.pid, center.rest
    found = {"resident_before": resident(pid)}
    fleet.begin("wait 5")
    time.sleep(1)
    began = time.time()
    rest.post(f"/api/v1/plans/{plan}/activate", {})
    found["activate_s"] = time.time() - began
    fleet.end()
    if fleet.first_offer is None:
        fleet.does("wait 60")
    if fleet.first_offer is None:
        raise SystemExit("FAILED: no offer")
    found["first_offer_s"] = fleet.first_offer - began
    say(found)
    # Until every device is in the plan.
    while sum(rest.get(f"/api/v1/plans/{plan}")["counters"].values()) < size:
        if time.time() - began > 600:
            raise SystemExit("FAILED: the devices of the plan are not all enrolled")
        fleet.does("wait 1")
    found["enrolled_s"] = time.time() - began
    found["in_upgrade"] = rest.get(f"/api/v1/plans/{plan}")["counters"]["in_upgrade"]
    found["resident_active"] = resident(pid)
    key = "d000007"
    part, api = f"/projects/{project}", "/api/v1"
    looked = [
        part, f"{part}/devices", f"{part}/devices?after=d050000", f"{part}/devices?find={key}", f"{part}/devices/fleet/{key}",
        f"{part}/products/new", f"{part}/models", f"{part}/models/new", f"{part}/packages", f"{part}/packages/new",
        f"{part}/packages/{package}", f"{part}/plans", f"{part}/plans/new", f"{part}/plans/{saved}/edit",
        f"{part}/plans/{plan}", f"{part}/plans/{plan}?state=InUpgrade", f"{part}/plans/{plan}?state=NotUpgraded&after=d050000",
        f"{part}/plans/{plan}?state=UpgradeFailed", f"{part}/plans/{plan}/devices/{key}", f"{part}/members", "/projects/new",
        "/account/tokens", "/log-in", "/", "/health", "/metrics", f"{api}/projects", f"{api}/products", f"{api}/models",
        f"{api}/packages", f"{api}/plans", f"{api}/plans/{plan}", f"{api}/plans/{plan}/devices?limit=100",
        f"{api}/plans/{plan}/devices?limit=100&state=UpgradeFailed", f"{api}/devices?product_key=fleet&limit=100",
        f"{api}/devices/fleet/{key}", f"{api}/devices/fleet/{key}/log", f"{api}/devices/fleet/{key}/why"]
    browser = Pages(port_of(center.base), rest.token)
    route = subprocess.Popen([BIN / "examples/baseline", "route"], stdout=subprocess.PIPE, text=True)
    empty = Pages(int(route.stdout.readline()))
    times, nothing = {path: [] for path in looked}, []
    live = [follow(center, f"{part}/plans/{plan}/live") for _ in range(OPEN_PAGES)]
    fleet.begin(f"report {RATE} {SECONDS}")
    time.sleep(2)
    end, cycles, before = time.time() + SECONDS - 4, 0, cpu(pid)
    at = time.time()
    while time.time() < end and cycles < LOOKS:
        for path, taken in times.items():
            taken.append(browser.seconds(path))
            nothing.append(empty.seconds("/"))
            # A person looks now and then; without a pause the look itself is the load.
            time.sleep(0.005)
        cycles += 1
    found["cpu_share"] = (cpu(pid) - before) / (time.time() - at)
    reported = fleet.end()
    found["reports_s"] = reported["answered"] / reported["seconds"]
    found["sent_again"] = reported["sent_again"]
    found["looks"] = cycles
    found["pages"] = {path.replace(part, "", 1) or part: p95(taken) * 1000 for path, taken in times.items()}
    found["route"] = p95(nothing) * 1000
    found["resident_load"] = resident(pid)
    for connection in live:
        connection.close()
    route.kill()
    route.wait()
    fleet.does("wait 3")
    done = subprocess.run([BIN / "examples/baseline", "commit", tempfile.mkdtemp(dir=BIN), "300"], stdout=subprocess.PIPE, check=True)
    commits = json.loads(done.stdout)
    found["commit"] = statistics.median(commits) * 1000
    found["commit_95"] = p95(commits) * 1000
    found["upload"] = upload(center, project, pid)
    return found


def follow(center, path):
    """A page that stays open: its live part is read and thrown away."""
    connection = socket.create_connection(("127.0.0.1", port_of(center.base)))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {center.token}\r\n\r\n".encode())

    def drain():
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    threading.Thread(target=drain, daemon=True).start()
    return connection


def upload(center, project, pid):
    fields = {"project": project, "name": "large", "component_type": "MCU", "target_version": "9"}
    head = "".join(f'--B\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items())
    head += '--B\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    tail = b"\r\n--B--\r\n"
    length = len(head) + UPLOAD + len(tail)

    def body():
        yield head.encode()
        for _ in range(UPLOAD >> 20):
            yield os.urandom(1 << 20)
        yield tail

    before, most, over = resident(pid), [0], threading.Event()

    def watch():
        while not over.wait(0.01):
            most[0] = max(most[0], resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(center.base), timeout=300)
    began = time.time()
    connection.request("POST", "/api/v1/packages", body(), {
        "Authorization": f"Bearer {center.token}", "Content-Length": str(length), "Content-Type": "multipart/form-data; boundary=B"})
    answer = connection.getresponse()
    taken = time.time() - began
    over.set()
    watcher.join()
    if answer.status != 201:
        raise SystemExit(f"FAILED: the upload: {answer.status} {answer.read()}")
    return {"seconds": taken, "growth": most[0] - before}


rows = []
for size in SIZES:
    found = curve(size, rows)
say(json.dumps(found, indent=1))
one = f"{SIZES[-1]:,}"
over = [ms for ms in found["pages"].values() if ms >= 100]
lines = [
    f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}; the devices, the browser and the Center share them. Written by `benches/center.sh`.",
    "",
    "| devices | registration, CPU s per 1,000 | version told, CPU s per 1,000 | update, CPU s per 1,000 | registrations/s | updates/s | resident, MB | resident per device, KiB |",
    "|---:|---:|---:|---:|---:|---:|---:|---:|",
]
for row in rows:
    lines.append(f"| {row['devices']:,} | {row['register']:.2f} | {row['versions']:.2f} | {row['update']:.3f} | "
                 f"{row['registrations_s']:,.0f} | {row['updates_s']:,.0f} | {row['resident']:.0f} | {row['each_kib']:.2f} |")
lines += [
    "",
    f"| with {one} devices | measured | goal |",
    "|---|---:|---:|",
    f"| registration updates a second | {rows[-1]['updates_s']:,.0f} | 5,000 |",
    f"| a plan for all is activated: first offer after | {found['first_offer_s']:.2f} s | 2 s |",
    f"| the same: the request is answered after | {found['activate_s']:.2f} s | |",
    f"| the same: every device is in the plan after | {found['enrolled_s']:.0f} s | |",
    f"| beside it: a bare SQLite commit, median and 95th percentile | {found['commit']:.2f} ms, {found['commit_95']:.2f} ms | |",
    f"| resident memory, all registered | {found['resident_before']:.0f} MB | 300 MB |",
    f"| the same, the plan running and {RATE:,} reports a second | {found['resident_load']:.0f} MB | |",
    f"| growth of it while 100 MiB are uploaded ({found['upload']['seconds']:.1f} s) | {found['upload']['growth']:.1f} MB | flat |",
    f"| reports answered a second, of {RATE:,} wanted | {found['reports_s']:,.0f} | 2,000 |",
    f"| pages and lists of 100 ms or more at the 95th percentile meanwhile | {len(over)} of {len(found['pages'])} | 0 |",
    f"| the slowest of them | {max(found['pages'].values()):.1f} ms | 100 ms |",
    f"| beside it: an empty axum route | {found['route']:.1f} ms | |",
    "",
    f"Pages and lists at the 95th percentile of {found['looks']} looks, in ms, with {OPEN_PAGES} more pages open:",
    "",
]
lines.append(", ".join(f"`{path}` {ms:.1f}" for path, ms in sorted(found["pages"].items(), key=lambda p: -p[1])))
table = "\n".join(lines)
print(table)

begin, end = "<!-- center: begin -->", "<!-- center: end -->"
page = pathlib.Path("docs/performance.md")
text = page.read_text()
if begin not in text:
    text = text.rstrip("\n") + f"\n\n## The Center under load\n\n{begin}\n{end}\n"
head, rest = text.split(begin, 1)
page.write_text(f"{head}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}")
PY
