// The page of a ceremony that is served: who contributed, who is at work, how to join. Text enters
// as text: names are strangers' words.

import { askJson } from "./ask.js";
import { element, showFacts } from "./dom.js";
import { formatAge, formatBytes, formatShare } from "./format.js";

const $ = (id) => document.getElementById(id);
const EVERY_MS = 10000;
let shown = "";

function describeWork(found) {
  const one = found.at_work;
  if (!one) return "nobody";
  const name = one.name || "somebody";
  if (one.stage === "checking") return `${name}, being verified`;
  const share = one.offset ? `, ${formatShare(one.offset / found.state_bytes)} uploaded` : "";
  return `${name}${share}`;
}

function showNow(found) {
  const facts = [
    ["network", found.architecture],
    ["contributions", found.contributions.length],
    ["at work", describeWork(found)],
    ["waiting", found.n_waiting],
  ];
  if (found.wait_s !== null) facts.push(["your wait", `about ${formatAge(found.wait_s)}`]);
  showFacts($("now"), facts, true);
}

function showMade(found) {
  const rows = [["the first key", found.place_0], ...found.contributions.map((c) => [c.name, c.place])];
  const cells = rows.map(([name, place], i) =>
    element(
      "tr",
      {},
      element("td", {}, String(i)),
      element("td", {}, name),
      element("td", { className: "id" }, place),
    ),
  );
  $("made").replaceChildren(...cells);
}

function showFiles(found) {
  const files = found.files.map((file) =>
    element(
      "li",
      {},
      element("a", { href: `/v1/ceremony/files/${file.name}`, download: file.name }, file.name),
      ` ${formatBytes(file.n_bytes)}, sha256 `,
      element("span", { className: "note" }, file.sha256),
    ),
  );
  $("files").replaceChildren(...files);
}

async function refresh() {
  try {
    const found = await askJson("/v1/ceremony");
    showNow(found);
    if (shown !== found.place) {
      showMade(found);
      showFiles(found);
      shown = found.place;
    }
    $("key-note").hidden = !found.needs_key;
    $("health").textContent = "open";
  } catch (error) {
    $("health").textContent = error.message;
  }
}

$("command").textContent = `zkpot ceremony contribute ${location.origin} --name "who I am"`;
$("verify").textContent = `zkpot ceremony verify ${location.origin} --ptau powers.ptau`;
refresh();
setInterval(refresh, EVERY_MS);
