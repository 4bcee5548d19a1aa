"""The seed's steps 1 to 5 by clicking, in headless Chromium, against a real Center, module and MCU: set-up, project,
product, model, package, plan; then the module connects, is upgraded, and the monitor shows it by itself. Looks at every page at
two widths and in both schemes: screenshots go to OUT, and no page may be wider than its window, log an error, or break the
Content-Security-Policy.

usage: seed_steps.py PATH-OF-SOTA OUT
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "peers"))
from center_peer import free_port  # noqa: E402

PACKAGE = bytes((i * i * 7 + i // 251) % 256 for i in range(40_000))
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


class Part:
    """A part of the program; `with` stops it. `line` waits for a JSON line with a field."""

    def __init__(self, sota, *arguments):
        self.name = arguments[0]
        self.process = subprocess.Popen([sota, "--json", *arguments], stdout=subprocess.PIPE, text=True)

    def line(self, field):
        for text in self.process.stdout:
            value = json.loads(text)
            if field in value:
                return value
        raise SystemExit(f"FAILED: {self.name} ended before it said {field}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Walk:
    """A browser that takes pictures and notes what is wrong."""

    def __init__(self, browser, base, out):
        self.base, self.out, self.wrong, self.number = base, out, [], 0
        self.context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.wrong.append(f"{self.page.url}: {error}"))
        self.page.on("console", self.console)

    def console(self, message):
        # Chromium notes each answer that is a refusal; this test asks for some
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(f"{self.page.url}: {message.text}")

    def go(self, path):
        self.page.goto(self.base + path)

    def look(self, name):
        self.number += 1
        for width, scheme in LOOKS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=os.path.join(self.out, f"{self.number:02}-{name}-{width}-{scheme}.png"), full_page=True)
            scroll = self.page.evaluate("document.documentElement.scrollWidth")
            if scroll > width:
                self.wrong.append(f"{name}: {scroll} px wide in a window of {width}")
        self.check(name)
        self.page.set_viewport_size({"width": 1280, "height": 900})

    def check(self, name):
        """Each field has a label, each page one h1, its title and its landmarks; no id is there twice."""
        self.wrong += [f"{name}: {w}" for w in self.page.evaluate("""() => {
            const wrong = [];
            for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
                if (!field.labels.length && !field.getAttribute('aria-label')) wrong.push('no label: ' + field.name);
            }
            for (const button of document.querySelectorAll('button, summary, a')) {
                if (!button.textContent.trim()) wrong.push('no words: ' + button.outerHTML);
            }
            if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
            if (!document.querySelector('main')) wrong.push('no main');
            if (!document.title || !document.documentElement.lang) wrong.push('no title or language');
            const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
            for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push('twice: ' + id);
            return wrong;
        }""")]

    def fill(self, label, value):
        self.page.get_by_label(label, exact=True).fill(value)

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()


def hour_before(folder):
    """A plan of 500 devices as it would have run in the hour before now: its samples, put into the store."""
    store = next(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".db"))
    with contextlib.closing(sqlite3.connect(store, timeout=10)) as store, store:
        (plan,) = store.execute("SELECT max(id) FROM plan").fetchone()
        now = int(time.time()) // 60 * 60
        for minute in range(60):
            upgraded, failed = minute * 7, minute // 5
            running = min(80, 500 - upgraded - failed, minute * 20)
            counters = {"not_upgraded": 500 - upgraded - failed - running, "in_upgrade": running, "upgraded": upgraded,
                        "upgrade_failed": failed, "no_update_required": 0}
            at = (now - (60 - minute) * 60) * 1000
            body = json.dumps({"plan": plan, "at": at, "counters": counters})
            store.execute("INSERT OR REPLACE INTO plan_sample (plan, at, body) VALUES (?, ?, ?)", (plan, at, body))


def steps(walk, set_up, firmware, start_device, folder):
    page = walk.page
    # 1. sign up and log in
    walk.go("/")
    expect(page.get_by_text("Nobody has set up this Center yet")).to_be_visible()
    walk.look("log-in-nobody")
    page.goto(set_up)
    walk.look("set-up")
    walk.fill("Name", "ada@example.org")
    walk.fill("Password", "correct horse")
    walk.fill("Password again", "another horse")
    walk.press("Make the account")
    expect(page.get_by_role("alert")).to_be_visible()
    walk.look("set-up-error")
    walk.fill("Password", "correct horse")
    walk.fill("Password again", "correct horse")
    walk.press("Make the account")
    # 2. a project
    expect(page.get_by_role("heading", name="Make your first project")).to_be_visible()
    walk.look("first-project")
    walk.fill("Name", "Lighthouse")
    walk.press("Make the project")
    expect(page.get_by_text("From here to the first upgrade")).to_be_visible()
    walk.look("overview-empty")
    base = page.url.removeprefix(walk.base)
    for name in ["plans", "devices", "packages", "models"]:
        walk.go(f"{base}/{name}")
        walk.look(f"{name}-empty")
    # 3. a product
    walk.go(base)
    page.get_by_role("link", name="Make a product").click()
    walk.fill("Name", "Diffuser")
    walk.fill("Product key", "a key with blanks")
    walk.fill("Product secret", "s3cret")
    walk.press("Make the product")
    expect(page.locator("#note-product_key")).to_be_visible()
    walk.look("product-error")
    walk.fill("Product key", "diffuser")
    walk.press("Make the product")
    expect(page.get_by_text("No device has connected with this product's key yet.")).to_be_visible()
    walk.look("product-no-devices")
    # 4 a. a model
    walk.go(f"{base}/models")
    page.get_by_role("link", name="Make a model").click()
    walk.fill("Model name", "Diffuser 2026")
    walk.fill("Device model", "BC660K")
    row = page.get_by_role("group", name="Component 2")
    row.get_by_label("Identifier").fill("STM32")
    row.get_by_label("Name").fill("Motor")
    walk.look("model-new")
    walk.press("Make the model")
    expect(page.get_by_text("BC660K")).to_be_visible()
    walk.look("models")
    # 4 b. a version
    walk.go(f"{base}/packages/new")
    walk.fill("Name", "Motor 2.0")
    walk.fill("Target version", "2.0 beta")
    page.get_by_label("File", exact=True).set_input_files(firmware)
    walk.press("Upload")
    expect(page.locator("#note-target_version")).to_be_visible()
    walk.look("package-error")
    walk.fill("Target version", "2_0_0")
    walk.press("Upload")
    expect(page.get_by_role("heading", name="Motor 2.0")).to_be_visible()
    expect(page.get_by_text(hashlib.sha256(PACKAGE).hexdigest())).to_be_visible()
    walk.look("package")
    walk.go(f"{base}/packages")
    walk.look("packages")
    # 4 c. a plan, in four steps
    walk.go(f"{base}/plans/new")
    walk.press("Next")
    expect(page.get_by_role("alert")).to_be_visible()
    walk.look("wizard-1-error")
    walk.fill("Name", "Spring")
    page.get_by_label("Product").select_option("Diffuser")
    page.get_by_label("Model").select_option("Diffuser 2026")
    walk.fill("Blacklist", "860000000000009, 860000000000010")
    walk.look("wizard-1")
    walk.press("Next")
    walk.fill("Least battery in %", "20")
    walk.look("wizard-2")
    walk.press("Add a group")
    walk.press("Add a group")
    page.get_by_role("button", name="Remove group 2").click()
    row = page.get_by_role("group", name="Group 1")
    row.get_by_label("Name").fill("pilot")
    row.get_by_label("Takes").fill("200")
    row.get_by_label("Suspends at % failed").fill("5")
    walk.press("Next")
    expect(page.locator("#note-group_0_size")).to_be_visible()
    walk.look("wizard-2-error")
    row.get_by_label("Unit of group 1").select_option("devices")
    row.get_by_label("Takes").fill("5")
    # as a person does who types and goes on
    row.get_by_label("Takes").press("Enter")
    page.locator("#f-package_STM32").select_option(index=1)
    walk.look("wizard-3")
    walk.press("Next")
    expect(page.get_by_text("2 in the blacklist")).to_be_visible()
    expect(page.get_by_text("in groups: pilot (5 devices), all others,")).to_be_visible()
    walk.look("wizard-4")
    walk.press("Activate the plan")
    expect(page.get_by_text("No device is in the plan yet.")).to_be_visible()
    walk.look("plan-no-devices")
    # 4 d-h. the device connects, asks, downloads, its MCU flashes itself: the page follows without a reload
    plan = page.url
    page.evaluate("window.notReloaded = true")
    start_device()
    expect(page.get_by_role("link", name="860000000000001")).to_be_visible(timeout=60_000)
    walk.look("plan-running")
    expect(page.get_by_text("100.0 %")).to_be_visible(timeout=120_000)
    if not page.evaluate("window.notReloaded"):
        walk.wrong.append("the monitor was loaded again")
    # 5. monitor
    walk.look("plan-done")
    hour_before(folder)
    page.reload()
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    walk.look("plan-progress")
    page.get_by_role("link", name="860000000000001").click()
    expect(page.get_by_role("heading", name="Log")).to_be_visible()
    walk.look("plan-device")
    page.get_by_role("link", name="The device, and why").click()
    expect(page.get_by_text("(rule 1211 AlreadyUpgraded)")).to_be_visible()
    expect(page.get_by_role("cell", name="2_0_0")).to_be_visible()
    walk.look("device")
    walk.fill("Tags, with blanks between", "north b@d")
    walk.press("Save")
    expect(page.locator("#note-tags")).to_be_visible()
    walk.look("device-tags-error")
    walk.fill("Tags, with blanks between", "north pilot")
    walk.press("Save")
    walk.go(f"{base}/devices")
    walk.fill("Filter", "tag:north state:connected")
    walk.press("Show")
    expect(page.get_by_role("link", name="860000000000001")).to_be_visible()
    walk.fill("Name of the filter", "North")
    walk.press("Save the filter")
    walk.fill("Device keys and tags", "860000000000001,north,pilot\n860000000000002,south")
    walk.press("Set the tags")
    expect(page.get_by_text("1 are not known")).to_be_visible()
    walk.look("devices")
    page.goto(plan)
    walk.press("Suspend")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    walk.look("plan-suspended")
    walk.press("Resume")
    page.locator("summary", has_text="Terminate").click()
    walk.press("Terminate Spring")
    expect(page.get_by_text("It is over.")).to_be_visible()
    walk.go(f"{base}/plans")
    walk.look("plans")
    walk.go(base)
    walk.look("overview")
    walk.go(f"{base}/members")
    walk.press("Make a link")
    expect(page.get_by_text("Send this link to the new member.")).to_be_visible()
    walk.look("members")
    walk.go("/account/tokens")
    walk.fill("What it is for", "nightly build")
    walk.press("Make the token")
    expect(page.get_by_text("It is shown only now")).to_be_visible()
    walk.look("tokens")
    # what an operator keeps house with: webhooks, the audit log, accounts
    walk.go(f"{base}/webhooks")
    walk.look("webhooks-empty")
    walk.fill("Name", "Chat")
    walk.fill("Address", "file:///etc/passwd")
    walk.press("Make the webhook")
    expect(page.locator("#note-url")).to_be_visible()
    walk.look("webhooks-error")
    walk.fill("Address", "http://127.0.0.1:9/hook")
    walk.press("Make the webhook")
    expect(page.get_by_text("The secret of “Chat”.")).to_be_visible()
    walk.look("webhooks")
    page.get_by_role("link", name="Chat").click()
    walk.press("Send a test")
    expect(page.get_by_text("Tried again")).to_be_visible()
    walk.look("webhook")
    walk.go(f"{base}/audit")
    expect(page.get_by_role("cell", name="PlanTerminated")).to_be_visible()
    walk.look("audit")
    page.get_by_label("What", exact=True).select_option("ModelCreated")
    walk.press("Show")
    expect(page.get_by_role("cell", name="Diffuser 2026")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    with open(download.value.path()) as file:
        if "ModelCreated" not in file.read():
            walk.wrong.append("the audit log's file does not hold what the page shows")
    walk.go("/account")
    walk.fill("Present password", "wrong horse")
    walk.fill("New password", "battery staple")
    walk.fill("New password again", "battery staple")
    walk.press("Change the password")
    expect(page.locator("#note-old")).to_be_visible()
    walk.look("account-error")
    walk.fill("Present password", "correct horse")
    walk.fill("New password", "battery staple")
    walk.fill("New password again", "battery staple")
    walk.press("Change the password")
    expect(page.get_by_text("Your password is changed.")).to_be_visible()
    walk.go("/account/audit")
    expect(page.get_by_role("cell", name="PasswordChanged")).to_be_visible()
    walk.look("account-log")
    walk.go("/accounts")
    walk.look("accounts")
    walk.go("/projects/99")
    walk.look("not-there")
    # by keyboard alone: the first stop leads past the head of the page
    walk.go(base)
    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.textContent")
    if skip != "Skip to the content":
        walk.wrong.append(f"the first stop of the keyboard is {skip!r}")
    page.locator("summary", has_text="ada@example.org").click()
    walk.press("Log out")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    walk.look("log-in")
    walk.fill("Name", "ada@example.org")
    walk.fill("Password", "wrong horse")
    walk.press("Log in")
    expect(page.get_by_role("alert")).to_be_visible()
    walk.look("log-in-refused")


def main():
    sota, out = os.path.realpath(sys.argv[1]), sys.argv[2]
    os.makedirs(out, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("FAILED: there is no chromium")
    with tempfile.TemporaryDirectory() as folder:
        path = lambda *names: os.path.join(folder, *names)  # noqa: E731
        with open(path("motor.bin"), "wb") as file:
            file.write(PACKAGE)
        parts = []
        coap = free_port(2)
        try:
            center = Part(sota, "center", "--data", path("center"), "--listen-http", "127.0.0.1:0",
                          "--listen-coap", f"127.0.0.1:{coap}")
            parts.append(center)
            line = center.line("http")

            def start_device():
                module = Part(sota, "module", "--server", f"coap://127.0.0.1:{coap}", "--product-key", "diffuser",
                              "--device-key", "860000000000001", "--state", path("module"), "--uart", "pty")
                parts.append(module)
                uart = module.line("uart")["uart"]
                parts.append(Part(sota, "mcu", "--uart", uart, "--state", path("mcu"), "--component", "STM32",
                                  "--version", "1_0_0"))

            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                walk = Walk(browser, f"http://{line['http']}", out)
                try:
                    steps(walk, line["set_up"], path("motor.bin"), start_device, path("center"))
                except BaseException:
                    walk.page.screenshot(path=os.path.join(out, "failed.png"), full_page=True)
                    print(f"at {walk.page.url}; what was wrong before: {walk.wrong}", file=sys.stderr)
                    raise
                browser.close()
            with open(path("mcu", sorted(n for n in os.listdir(path("mcu")))[0]), "rb") as file:
                flash = file.read()
        finally:
            for part in reversed(parts):
                part.__exit__()
        if PACKAGE not in flash:
            walk.wrong.append("the MCU's flash does not hold the package")
    if walk.wrong:
        raise SystemExit("FAILED:\n" + "\n".join(walk.wrong))
    print(f"ok: the seed's steps by clicking; {walk.number} pages, each in {len(LOOKS)} looks, in {out}")


if __name__ == "__main__":
    main()
