// The chain on the page: leader, last blocks, and every client's proven accuracy by round.

import { element, showFacts } from "./dom.js";
import { formatShare } from "./format.js";

const N_BLOCKS = 12;
const COLORS = ["#3b6fd4", "#c2571a", "#2c8a4b", "#a03a9c", "#8a7a10", "#15808a", "#b3304a", "#666"];
const WIDTH = 560, HEIGHT = 220, LEFT = 48, BOTTOM = 28, TOP = 10, RIGHT = 12;
const $ = (id) => document.getElementById(id);

// Asks and shows; a service that follows no chain has no such section.
export async function refreshChain(askJson) {
  let leader;
  try {
    leader = await askJson("/v1/leader");
  } catch (error) {
    if (error.status !== 404) throw error;
    $("chain").hidden = true;
    return;
  }
  const [blocks, clients] = await Promise.all(
    [`/v1/blocks?limit=${N_BLOCKS}`, "/v1/clients"].map(askJson),
  );
  $("chain").hidden = false;
  showLeader(leader, clients.clients);
  showBlocks(blocks.blocks);
  showAccuracy(clients.clients);
}

const short = (key) => key.slice(0, 8);

function showLeader(leader, clients) {
  const own = clients.find((client) => client.client_key === leader.client_key);
  const best = own?.rounds.findLast((round) => round.claimed_correct !== null);
  const proven = best ? `${best.claimed_correct} of ${best.n_samples} proven` : "none yet";
  const pairs = [
    ["height", leader.height],
    ["round", leader.learning_round + 1],
    ["phase", leader.phase],
    ["leader", leader.client_key ? short(leader.client_key) : "none yet"],
    ["accuracy", proven],
    ["proposes next", `node ${leader.validator}`],
  ];
  const training = leader.training;
  if (training) {
    pairs.push(["training", `${training.proven_steps} of ${training.n_steps} steps proven`]);
  }
  showFacts($("leader"), pairs, true);
}

function showBlocks(blocks) {
  const list = $("blocks");
  const shown = blocks.map((b) => b.hash).join();
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  const rows = blocks.map((block) => {
    const counts = {};
    for (const tx of block.transactions) counts[tx.kind] = (counts[tx.kind] ?? 0) + 1;
    const parts = Object.entries(counts).map(([kind, n]) => `${n} ${kind}${n > 1 ? "s" : ""}`);
    if (block.beacon) parts.push("beacon");
    if (block.global_model) parts.push(`global model of ${block.entries.length}`);
    if (block.evidence_against.length) parts.push(`evidence against ${block.evidence_against}`);
    return element(
      "tr",
      {},
      element("td", {}, String(block.height)),
      element("td", { className: "id" }, block.hash.slice(0, 12)),
      element("td", {}, `node ${block.proposer}`),
      element("td", {}, `${block.voters.length} votes`),
      element("td", {}, parts.join(", ") || "empty"),
    );
  });
  list.replaceChildren(...rows);
}

/** What a client has to show for a round. */
function describeRound(round) {
  if (round.claimed_correct !== null) {
    const steps = round.n_steps === null ? "" : ` (${round.proven_steps}/${round.n_steps} steps)`;
    return `${round.claimed_correct}/${round.n_samples}${steps}`;
  }
  return round.refused_at === null ? "none" : "refused";
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// One line a client; a table with the same numbers stands below for who reads rather than looks.
function showAccuracy(clients) {
  const series = clients.map((client, i) => ({
    name: short(client.client_key),
    color: COLORS[i % COLORS.length],
    points: client.rounds
      .filter((round) => round.claimed_correct !== null)
      .map((round) => [round.learning_round, round.claimed_correct / round.n_samples]),
  }));
  const text = JSON.stringify(clients);
  if ($("accuracy").dataset.shown === text) return;
  $("accuracy").dataset.shown = text;
  const points = series.flatMap((s) => s.points);
  const lastRound = Math.max(1, ...points.map(([round]) => round));
  const least = Math.min(0.9, ...points.map(([, share]) => share)) - 0.02;
  const x = (round) => LEFT + (round / lastRound) * (WIDTH - LEFT - RIGHT);
  const y = (share) => TOP + ((1 - share) / (1 - least)) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  drawing.setAttribute("aria-label", "proven accuracy by round and client");
  for (const share of [least, (1 + least) / 2, 1]) {
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(share), y2: y(share), class: "grid" }),
      svg("text", { x: LEFT - 6, y: y(share) + 4, "text-anchor": "end" }, formatShare(share)),
    );
  }
  for (let round = 0; round <= lastRound; round += 1) {
    const anchor = round === lastRound ? "end" : "middle"; // the last one would be cut off
    const at = { x: x(round), y: HEIGHT - 8, "text-anchor": anchor };
    drawing.append(svg("text", at, `round ${round + 1}`));
  }
  for (const { color, points: line } of series) {
    const path = line.map(([round, share]) => `${x(round)},${y(share)}`).join(" ");
    drawing.append(svg("polyline", { points: path, stroke: color, fill: "none" }));
    for (const [round, share] of line) {
      drawing.append(svg("circle", { cx: x(round), cy: y(share), r: 4, fill: color }));
    }
  }
  $("accuracy").replaceChildren(drawing);
  $("clients").replaceChildren(
    ...clients.map((client, i) => {
      const mark = element("span", { className: "mark" });
      mark.style.background = series[i].color;
      const proven = client.rounds.map(describeRound);
      return element(
        "tr",
        {},
        element("td", {}, mark, ` ${series[i].name}`),
        element("td", {}, `node ${client.validator}`),
        element("td", {}, proven.join(", ") || "none"),
        element("td", {}, (client.governance_weight / 1e6).toFixed(2)),
      );
    }),
  );
}
