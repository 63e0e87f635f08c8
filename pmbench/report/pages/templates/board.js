"use strict";
/* Tables that can be sorted and filtered; without this script they are complete, in the order of the pages. */

function valueOf(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  if (value === undefined || value === "") return null;
  const number = Number(value);
  return Number.isNaN(number) ? value : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort((first, second) => {
    const a = valueOf(first, column), b = valueOf(second, column);
    if (a === null || b === null) return (a === null) - (b === null); /* missing values stay last */
    return direction * compare(a, b) || first.dataset.order - second.dataset.order;
  });
  body.append(...rows);
}

function makeSortable(table) {
  Array.from(table.tBodies[0].rows).forEach((row, place) => { row.dataset.order = place; });
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", now);
      sortBy(table, column, now === "ascending" ? 1 : -1);
    });
  });
}

function makeFilter(form) {
  const table = document.getElementById(form.dataset.for);
  const rows = Array.from(table.tBodies[0].rows);
  const output = form.querySelector("output");
  const update = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    const kind = form.elements.kind ? form.elements.kind.value : "";
    let count = 0;
    for (const row of rows) {
      const shown = row.cells[0].textContent.toLowerCase().includes(text) && (!kind || row.dataset.kind === kind);
      row.hidden = !shown;
      count += shown;
    }
    output.textContent = `${count} of ${rows.length} rows`;
  };
  form.hidden = false;
  for (const event of ["input", "change"]) form.addEventListener(event, update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filters").forEach(makeFilter);
