"use strict";
// The grid: filters and sorts the samples. Texts are set as text, never as markup.

const byId = (id) => document.getElementById(id);
const facts = JSON.parse(byId("page-facts").textContent);
const cards = [...document.querySelectorAll("#grid > .card")];
const panels = [...document.querySelectorAll(".panel")];
const columnOf = new Map(facts.columns.map((column) => [column.name, column]));

function element(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}

function number(value) {
  return String(Number(value.toPrecision(4)));
}

/** What a panel asks for: null, {is} for yes or no, or {from, to}, either of which may be null. */
function demand(panel) {
  const column = columnOf.get(panel.dataset.column);
  if (column.is_bool) {
    const choice = panel.querySelector("select").value;
    return choice ? { column, is: choice === "yes" } : null;
  }
  const [first, last] = [...panel.querySelectorAll("input")].map((input) => Number(input.value));
  const end = column.edges.length - 1;
  if (first === 0 && last === end) return null;
  return {
    column,
    from: first > 0 ? column.edges[first] : null,
    to: last < end ? column.edges[last] : null,
  };
}

/** A clip without a value of the column meets no demand on it. */
function meets(value, wanted) {
  if (value === null) return false;
  if ("is" in wanted) return value === wanted.is;
  return (wanted.from === null || value >= wanted.from) && (wanted.to === null || value < wanted.to);
}

function conditionOf(wanted) {
  const name = wanted.column.name;
  if ("is" in wanted) return wanted.is ? name : `${name} == False`;
  const parts = [];
  if (wanted.from !== null) parts.push(`${name} >= ${wanted.from}`);
  if (wanted.to !== null) parts.push(`${name} < ${wanted.to}`);
  return parts.join(" and ");
}

function showRange(panel, wanted) {
  const column = columnOf.get(panel.dataset.column);
  const bars = panel.querySelectorAll("rect");
  bars.forEach((bar, k) => {
    let out = false;
    if (wanted && "is" in wanted) out = Boolean(k) !== wanted.is;
    else if (wanted) {
      out = (wanted.from !== null && column.edges[k] < wanted.from)
        || (wanted.to !== null && column.edges[k + 1] > wanted.to);
    }
    bar.classList.toggle("out", out);
  });
  const output = panel.querySelector("output");
  if (!output) return;
  const unit = column.unit && column.unit !== "bytes" ? ` ${column.unit}` : "";
  if (!wanted) output.textContent = "";
  else if (wanted.from === null) output.textContent = `below ${number(wanted.to)}${unit}`;
  else if (wanted.to === null) output.textContent = `from ${number(wanted.from)}${unit} on`;
  else output.textContent = `${number(wanted.from)} to below ${number(wanted.to)}${unit}`;
}

function compare(name) {
  const valueOf = (card) => {
    const sample = facts.samples[card.index];
    return name === "key" || name === "label" ? sample[name] : sample.values[name];
  };
  return (a, b) => {
    const [left, right] = [valueOf(a), valueOf(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    const sign = typeof left === "string" ? left.localeCompare(right) : left - right;
    return descending() ? -sign : sign;
  };
}

const descending = () => byId("direction").getAttribute("aria-pressed") === "true";
const grid = cards.map((item, index) => ({ item, index }));
let shown = grid;

function apply() {
  const demands = panels.map(demand);
  panels.forEach((panel, i) => showRange(panel, demands[i]));
  const wanted = demands.filter(Boolean);
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const split = byId("split").value;
  const passes = ({ index }) => {
    const sample = facts.samples[index];
    return words.every((word) => sample.text.includes(word))
      && (!split || sample.split === split)
      && wanted.every((one) => meets(sample.values[one.column.name], one));
  };
  const sort = byId("sort").value;
  const order = [...grid];
  if (sort) order.sort(compare(sort));
  else if (descending()) order.reverse();
  shown = order.filter(passes);
  const visible = new Set(shown);
  for (const card of grid) card.item.hidden = !visible.has(card);
  byId("grid").append(...order.map((card) => card.item));
  byId("count").textContent = `${shown.length} of ${grid.length} shown`;
  byId("nothing").hidden = shown.length > 0;
  byId("reset").disabled = !(wanted.length || words.length || split || sort || descending());
  showCondition(wanted, split);
}

function showCondition(wanted, split) {
  const parts = wanted.map(conditionOf);
  if (split) parts.push(`split == ${JSON.stringify(split)}`);
  byId("condition").hidden = parts.length === 0;
  if (facts.where) parts.unshift(`(${facts.where})`);
  const quoted = parts.join(" and ").replaceAll("'", "'\\''");
  byId("condition").querySelector("code").textContent = `--where '${quoted}'`;
}

function reset() {
  byId("find").value = "";
  byId("split").value = "";
  byId("sort").value = "";
  byId("direction").setAttribute("aria-pressed", "false");
  for (const panel of panels) {
    for (const input of panel.querySelectorAll("input")) input.value = input.defaultValue;
    for (const select of panel.querySelectorAll("select")) select.value = "";
  }
  showDirection();
  apply();
}

function showDirection() {
  byId("direction").firstElementChild.textContent = descending() ? "↓" : "↑";
}

function keepOrder(panel, moved) {
  const [first, last] = panel.querySelectorAll("input");
  const [low, high] = [Number(first.value), Number(last.value)];
  if (low < high) return;
  if (moved === first) first.value = Math.max(0, high - 1);
  else last.value = Math.min(Number(last.max), low + 1);
  // of two handles at one end, the one that can still move lies on top
  first.style.zIndex = Number(first.value) > Number(first.max) / 2 ? 1 : 0;
}

for (const panel of panels) {
  panel.addEventListener("input", (event) => {
    if (event.target.type === "range") keepOrder(panel, event.target);
    apply();
  });
}
for (const id of ["find", "split", "sort"]) byId(id).addEventListener("input", apply);
byId("direction").addEventListener("click", () => {
  byId("direction").setAttribute("aria-pressed", String(!descending()));
  showDirection();
  apply();
});
byId("reset").addEventListener("click", reset);
byId("condition").querySelector("button").addEventListener("click", async (event) => {
  const text = byId("condition").querySelector("code");
  try {
    await navigator.clipboard.writeText(text.textContent);
    event.target.textContent = "Copied";
    setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
  } catch {  // pages from a file may not write to the clipboard
    getSelection().selectAllChildren(text);
  }
});

function fillLists() {
  const splits = [...new Set(facts.samples.map((sample) => sample.split).filter(Boolean))].sort();
  byId("split-filter").hidden = splits.length < 2;
  for (const split of splits) {
    const option = element("option", split);
    option.value = split;
    byId("split").append(option);
  }
  for (const column of facts.columns) {
    const option = element("option", column.name);
    option.value = column.name;
    byId("sort").append(option);
  }
}

// arrow keys move between the cards, by what is seen on the screen
byId("grid").addEventListener("keydown", (event) => {
  const at = shown.findIndex((card) => card.item.contains(document.activeElement));
  if (at < 0) return;
  const top = shown[0].item.offsetTop;
  const across = Math.max(1, shown.filter((card) => card.item.offsetTop === top).length);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
  if (!step || !shown[at + step]) return;
  event.preventDefault();
  shown[at + step].item.querySelector("button").focus();
});

fillLists();
reset();
