// What pages can do beyond HTML: live parts, times in the reader's zone, uploads that show how far they are, copying,
// lists from a file. Every page works without it.
"use strict";

const shortTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!time.title && !Number.isNaN(at.getTime())) {
      time.title = time.textContent;
      time.textContent = shortTime.format(at);
    }
  }
}

// The server sends the part's HTML, in which it has escaped what others wrote. Where the reader is stays.
function live(part) {
  const events = new EventSource(part.dataset.live);
  events.onmessage = (event) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const href = focused && focused.getAttribute("href");
    part.innerHTML = event.data;
    localTimes(part);
    if (href) {
      const again = [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === href);
      if (again) again.focus({ preventScroll: true });
    }
  };
  addEventListener("pagehide", () => events.close());
}

function showFault(form, fault) {
  for (const old of form.querySelectorAll(".note")) old.remove();
  for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  const message = fault.message.charAt(0).toUpperCase() + fault.message.slice(1);
  const said = `What to do: ${fault.remedy}. Error ${fault.number}.`;
  const field = fault.field && form.querySelector(`#f-${CSS.escape(fault.field)}`);
  const summary = document.getElementById("summary");
  const box = document.createElement("div");
  box.className = "summary";
  box.setAttribute("role", "alert");
  const what = document.createElement("p");
  const strong = document.createElement("strong");
  strong.textContent = `${message}.`;
  what.append(strong, ` ${said}`);
  box.append(what);
  summary.replaceChildren(box);
  if (!field) return;
  const note = document.createElement("p");
  note.className = "note";
  note.id = `note-${fault.field}`;
  const remedy = document.createElement("span");
  remedy.textContent = said;
  note.append(`${message}. `, remedy);
  field.after(note);
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function upload(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const box = form.querySelector(".progress");
    const bar = box.querySelector("progress");
    const said = box.querySelector("output");
    const button = form.querySelector(".button.primary");
    const data = new FormData();
    for (const [name, value] of new FormData(form)) {
      if (value !== "" || name === "name" || name === "target_version") data.append(name, value);
    }
    const delta = data.get("package_type") === "Delta";
    if (!delta) data.delete("source_version");
    const request = new XMLHttpRequest();
    const done = () => { button.disabled = false; };
    request.open("POST", form.dataset.upload);
    request.setRequestHeader("x-form-mark", form.dataset.mark);
    request.upload.onprogress = (progress) => {
      const percent = progress.total ? Math.floor(progress.loaded * 100 / progress.total) : 0;
      bar.value = percent;
      const mib = (bytes) => (bytes / 1048576).toFixed(1);
      said.textContent = percent < 100
        ? `${percent} %, ${mib(progress.loaded)} of ${mib(progress.total)} MiB`
        : "Digests are made and stored";
    };
    request.onload = () => {
      done();
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not from the Center */ }
      if (request.status === 201) { location.assign(form.dataset.done + answer.id); return; }
      box.hidden = true;
      showFault(form, answer.number ? answer : { field: "", message: `status ${request.status}`, remedy: "try again", number: "" });
    };
    request.onerror = () => {
      done();
      box.hidden = true;
      showFault(form, { field: "file", message: "the connection to the Center broke", remedy: "upload the file again", number: 1048 });
    };
    button.disabled = true;
    box.hidden = false;
    bar.value = 0;
    request.send(data);
  });
  const delta = form.querySelector("[data-shows]");
  const part = delta && document.getElementById(delta.dataset.shows);
  const follow = () => { part.hidden = !delta.checked; };
  if (part) { follow(); form.addEventListener("change", follow); }
}

localTimes(document);
for (const part of document.querySelectorAll("[data-live]")) live(part);
for (const form of document.querySelectorAll("[data-upload]")) upload(form);
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });
}
for (const input of document.querySelectorAll("[data-into]")) {
  input.closest("label").hidden = false;
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) document.getElementById(input.dataset.into).value = await file.text();
  });
}
// a plan that is made now is in the reader's zone until they choose another
for (const form of document.querySelectorAll("form[data-zone]")) {
  const zone = form.querySelector("input[type=hidden][name=time_zone]");
  if (zone) zone.value = new Intl.DateTimeFormat().resolvedOptions().timeZone || zone.value;
}
const tab = document.querySelector(".tabs [aria-current]");
if (tab) tab.scrollIntoView({ block: "nearest", inline: "center" });
// one menu at a time, closed by Escape and by a click beside it
const menus = [...document.querySelectorAll("details.menu")];
addEventListener("click", (event) => {
  for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus) if (menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
});
