"use strict";
// Everything on the page can be read without this: it sorts, filters, saves data and switches the theme.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse(document.getElementById("data").textContent);

// -- sorting: rows of each group of a table; a cell without a number comes last in both directions
function sortValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? (cell.classList.contains("right") ? "" : cell.textContent.trim());
  return { text, number: text === "" ? NaN : Number(text) };
}

function compare(a, b) {
  if (a.text === "" || b.text === "") return (a.text === "") - (b.text === "");
  if (Number.isNaN(a.number) || Number.isNaN(b.number)) return a.text.localeCompare(b.text, "en", { numeric: true });
  return a.number - b.number;
}

function sortBy(head) {
  const table = head.closest("table");
  const column = [...head.parentElement.children].indexOf(head);
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = all("tr:not(.group)", body).map((row) => ({ row, value: sortValue(row, column) }));
    rows.sort((a, b) => {
      const missing = (a.value.text === "") - (b.value.text === "");
      return missing || (descending ? -compare(a.value, b.value) : compare(a.value, b.value));
    });
    body.append(...rows.map(({ row }) => row));
  }
}

for (const head of all("th[data-sortable]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => sortBy(head));
  head.replaceChildren(button);
}

// -- filters: every word must occur in the row, or in the heading of its group
function applyFilters(name) {
  const tests = all(`[data-filter="${name}"]`).map((field) => {
    const wanted = field.value.trim().toLowerCase();
    if (field.dataset.by) return (row) => !wanted || row.dataset[field.dataset.by].toLowerCase() === wanted;
    const words = wanted.split(/\s+/);
    return (row) => {
      const group = row.parentElement.querySelector("tr.group");
      const text = (row.textContent + " " + (group ? group.textContent : "")).toLowerCase();
      return words.every((word) => text.includes(word));
    };
  });
  let shown = 0;
  let total = 0;
  for (const body of all(`tbody[data-rows="${name}"]`)) {
    const rows = all("tr:not(.group)", body);
    for (const row of rows) {
      row.hidden = !tests.every((test) => test(row));
      shown += !row.hidden;
    }
    total += rows.length;
    for (const group of all("tr.group", body)) group.hidden = rows.every((row) => row.hidden);
  }
  for (const output of all(`[data-count="${name}"]`)) {
    const rows = total === 1 ? "row" : "rows";
    output.textContent = shown === total ? `${total} ${rows}` : `${shown} of ${total} ${rows}`;
  }
}

for (const field of all("[data-filter]")) {
  field.addEventListener("input", () => applyFilters(field.dataset.filter));
}
for (const name of new Set(all("[data-filter]").map((field) => field.dataset.filter))) applyFilters(name);

// -- data: tables are kept by columns, and a column of few values as those with how often each is repeated
function unpacked(key) {
  const columns = Object.keys(data[key].columns);
  const values = Object.values(data[key].columns).map((column) =>
    Array.isArray(column) ? column : column.runs.flatMap(([value, times]) => Array(times).fill(value)),
  );
  return { columns, rows: Array.from({ length: data[key].size }, (_, k) => values.map((column) => column[k])) };
}

function csvOf({ columns, rows }) {
  const cell = (value) => {
    const text = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function jsonOf({ columns, rows }) {
  const records = rows.map((row) => Object.fromEntries(columns.map((name, k) => [name, row[k]])));
  return JSON.stringify(records, null, 1) + "\n";
}

function save(button) {
  const kind = button.dataset.save;
  const text = (kind === "csv" ? csvOf : jsonOf)(unpacked(button.dataset.key));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
  link.download = `${button.dataset.name.replaceAll(/[^A-Za-z0-9_.]+/g, "-")}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const button of all("[data-save]")) button.addEventListener("click", () => save(button));

// -- theme: the system's, until the reader chooses; a browser may refuse to remember it
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

function remembered(value) {
  try {
    if (value) localStorage.setItem("tangentbench-theme", value);
    return localStorage.getItem("tangentbench-theme");
  } catch {
    return null;
  }
}

function isDark() {
  const chosen = document.documentElement.style.colorScheme;
  return chosen ? chosen === "dark" : system.matches;
}

function showTheme(value) {
  if (value) document.documentElement.style.colorScheme = value;
  theme.textContent = isDark() ? "Light theme" : "Dark theme";
}

theme.addEventListener("click", () => showTheme(isDark() ? "light" : "dark") ?? remembered(isDark() ? "dark" : "light"));
system.addEventListener("change", () => showTheme());
const before = remembered();
showTheme(["light", "dark"].includes(before) ? before : "");

// -- permalinks: what a link names is opened and focused, inside closed details too
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let node = target.parentElement; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  if (target.tabIndex < 0 && target.hasAttribute("tabindex")) target.focus({ preventScroll: true });
  target.scrollIntoView();
}
addEventListener("hashchange", follow);
if (location.hash) follow();

for (const part of all(".tools[hidden], .downloads[hidden], #theme")) part.hidden = false;
