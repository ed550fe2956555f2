// The page at `/experiments`: what was measured on this machine, claim by claim. Text enters as text.

import { ask, askJson, setKey } from "./ask.js";
import { element, showFacts } from "./dom.js";

const $ = (id) => document.getElementById(id);
const WORDS = new Map([[true, "holds"], [false, "does not hold"], [null, "open"]]);
const CLASSES = new Map([[true, "done"], [false, "failed"], [null, "queued"]]);
let pictures = [];

function makeTable(columns, rows) {
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((c) => element("td", {}, c))));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { className: "scroll" }, table);
}

function showFindings(reports) {
  const rows = reports.flatMap((report) =>
    report.findings.map((finding) =>
      element(
        "li",
        {},
        element(
          "div",
          {},
          element("span", { className: `state ${CLASSES.get(finding.holds)}` }, WORDS.get(finding.holds)),
          element("div", {}, finding.claim),
          element("div", { className: "note" }, `${finding.measured} (${report.experiment}, ${report.profile})`),
        ),
      ),
    ),
  );
  const none = element(
    "li",
    { className: "empty" },
    "Nothing was measured on this machine yet: run `zkpot experiment all`, which takes minutes.",
  );
  $("findings").replaceChildren(...(rows.length ? rows : [none]));
}

// Pictures need the caller's key, which an address cannot carry: they come as blobs.
async function makeFigure(report, figure) {
  const path = `/v1/experiments/${report.profile}/${figure.file}`;
  const picture = element("img", { alt: figure.caption, className: "picture" });
  try {
    const url = URL.createObjectURL(await (await ask(path)).blob());
    pictures.push(url);
    picture.src = url;
  } catch (error) {
    return element("p", { className: "note" }, `${figure.file}: ${error.message}`);
  }
  return element("figure", {}, picture, element("figcaption", { className: "note" }, figure.caption));
}

async function makeReport(report) {
  const facts = element("dl", { className: "facts" });
  showFacts(facts, Object.entries(report.conditions));
  const tables = report.tables.flatMap((table) => [
    element("h3", {}, table.title),
    makeTable(table.columns, table.rows),
  ]);
  const figures = await Promise.all(report.figures.map((figure) => makeFigure(report, figure)));
  const command = `zkpot experiment ${report.experiment} --profile ${report.profile}`;
  return element(
    "section",
    { className: "whole" },
    element("h2", {}, `${report.experiment}: ${report.title}`),
    element("p", { className: "id" }, command),
    ...figures,
    ...tables,
    element("h3", {}, "Conditions"),
    facts,
  );
}

async function refresh() {
  try {
    const { experiments } = await askJson("/v1/experiments");
    showFindings(experiments);
    pictures.forEach((url) => URL.revokeObjectURL(url));
    pictures = [];
    $("reports").replaceChildren(...(await Promise.all(experiments.map(makeReport))));
    $("health").textContent = `${experiments.length} reports`;
    $("key-form").hidden = true;
  } catch (error) {
    $("health").textContent = error.message;
    $("key-form").hidden = error.status !== 401;
  }
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  $("key").value = "";
  refresh();
});
refresh();
