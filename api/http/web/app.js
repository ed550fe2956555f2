// The page at `/`: reads the same API as every other client. Text enters as text, never as markup.

import { ask, askJson, setKey } from "./ask.js";
import { formatAge, formatBytes, formatDataset, formatShare, isFinal } from "./format.js";
import { refreshChain } from "./chain.js";
import { element, showFacts } from "./dom.js";
import { readEvents } from "./events.js";
import { setUpProving } from "./prove.js";

const POLL_MS = 1000;
const IDLE_POLL_MS = 5000;
const $ = (id) => document.getElementById(id);
const state = { jobs: [], chosen: null, stream: null };

function showQueue(queue) {
  const tiles = Object.entries(queue.priorities).map(([name, q]) => [`${name} waiting`, q.waiting]);
  const ages = Object.values(queue.priorities).map((q) => q.oldest_age_s ?? 0);
  tiles.push(["being proven", queue.running], ["to be retried", queue.retrying]);
  tiles.push(["dead letters", queue.dead], ["oldest", formatAge(Math.max(0, ...ages))]);
  showFacts($("queue"), tiles, true);
}

function showWorkers(workers) {
  const cards = workers.map((worker) => {
    const work = worker.job_id ? `proves ${worker.job_id.slice(0, 12)}` : "waits for a job";
    const place = [worker.backend, worker.device].filter(Boolean).join(", ");
    return element(
      "li",
      {},
      element(
        "div",
        {},
        element("div", { className: "id" }, worker.id),
        element("div", { className: "note" }, `${place}: ${worker.draining ? "drains" : work}`),
      ),
    );
  });
  const none = element("li", { className: "empty" }, "No worker is up: start one with `zkpot worker`.");
  $("workers").replaceChildren(...(cards.length ? cards : [none]));
}

// Cards are kept from one poll to the next, so that the keyboard's place is not lost.
function showJobs(jobs) {
  const list = $("jobs");
  const old = new Map([...list.querySelectorAll("button")].map((b) => [b.dataset.id, b]));
  const cards = jobs.map((job) => {
    const button = old.get(job.id) ?? makeCard(job.id);
    fillCard(button, job);
    return button.parentElement;
  });
  const none = element("li", { className: "empty" }, "No jobs yet: drop a model above.");
  const wanted = cards.length ? cards : [none];
  const same = wanted.length === list.children.length && wanted.every((c, i) => c === list.children[i]);
  if (same) return;
  const focused = document.activeElement;
  list.replaceChildren(...wanted);
  if (focused instanceof HTMLButtonElement && list.contains(focused)) focused.focus();
}

function makeCard(id) {
  const button = element("button", { type: "button" });
  button.dataset.id = id;
  button.append(
    element("span", { className: "id" }, id.slice(0, 16)),
    element("span"),
    element("progress", { className: "wide", max: 1 }),
    element("span", { className: "wide note" }),
  );
  button.addEventListener("click", () => choose(id));
  element("li", {}, button);
  return button;
}

function fillCard(button, job) {
  const [, label, bar, note] = button.children;
  button.setAttribute("aria-current", String(job.id === state.chosen));
  label.className = `state ${job.state}`;
  label.textContent = job.state;
  const share = shareOf(job);
  bar.value = share;
  bar.setAttribute("aria-label", `progress of ${job.id.slice(0, 16)}`);
  const stage = job.progress?.stage && !isFinal(job.state) ? `${job.progress.stage}, ` : "";
  const title = [job.kind, formatDataset(job.dataset), formatParts(job)];
  note.textContent = `${title.filter(Boolean).join(", ")}; ${stage}${formatShare(share)}`;
}

// What a job is cut into: the workers share it.
function formatParts(job) {
  if (job.steps) return `${job.steps_done} of ${job.steps} steps`;
  return job.shards > 1 ? `${job.shards} shards` : "";
}

function shareOf(job) {
  if (job.state === "done") return 1;
  return Math.min(1, Math.max(0, job.progress?.fraction ?? 0));
}

// A job that was just started: shown in the list and opened.
async function openJob(id) {
  await refresh();
  await choose(id);
}

async function choose(id) {
  state.stream?.abort();
  state.chosen = id;
  $("detail").hidden = false;
  $("stages").replaceChildren();
  delete $("proof").dataset.shown;
  $("proof").replaceChildren();
  $("detail").focus({ preventScroll: false });
  for (const b of $("jobs").querySelectorAll("button")) {
    b.setAttribute("aria-current", String(b.dataset.id === id));
  }
  const stream = (state.stream = new AbortController());
  await showDetail();
  try {
    await readEvents(`/v1/jobs/${id}/events`, { open: ask, signal: stream.signal, onEvent: showEvent });
  } catch (error) {
    if (!stream.signal.aborted) report(error);
  }
}

function close() {
  state.stream?.abort();
  const id = state.chosen;
  state.chosen = null;
  $("detail").hidden = true;
  for (const b of $("jobs").querySelectorAll("button")) {
    b.setAttribute("aria-current", "false");
    if (b.dataset.id === id) b.focus();
  }
}

function showEvent(event) {
  const { stage, done, total, shard } = event.data;
  if (event.type === "end") {
    refresh().catch(report);
    return;
  }
  if (!stage) return;
  // One row per stage: of several shards or steps it shows the one under way.
  $("stages-title").textContent = shard ? `Stages of part ${shard + 1}` : "Stages";
  let row = [...$("stages").children].find((r) => r.dataset.name === stage);
  if (!row) {
    row = element("li", {}, element("span", {}, stage), element("progress", {}));
    row.dataset.name = stage;
    row.lastChild.setAttribute("aria-label", stage);
    $("stages").append(row);
  }
  row.lastChild.max = Math.max(1, total);
  row.lastChild.value = done;
}

async function showDetail() {
  const id = state.chosen;
  if (!id) return;
  const job = await askJson(`/v1/jobs/${id}`);
  if (state.chosen !== id) return;
  $("detail-title").textContent = `Job ${id.slice(0, 16)}`;
  const facts = [
    ["id", job.id],
    ["state", job.state],
    ["kind", job.kind],
    ["dataset", job.dataset ?? ""],
    ...(job.steps ? [["proven", formatParts(job)]] : []),
    ["priority", job.priority],
    ["attempts", job.attempts],
    ["age", formatAge(Date.now() / 1000 - job.created_at)],
  ];
  if (job.error) facts.push(["failure", `${job.error.code}: ${job.error.message}`]);
  showFacts($("facts"), facts);
  $("cancel").hidden = isFinal(job.state);
  $("download").hidden = job.state !== "done";
  $("no-proof").hidden = job.state === "done";
  if (job.state === "done" && !$("proof").dataset.shown) await showProof(id);
}

async function showProof(id) {
  const proof = await askJson(`/v1/jobs/${id}/proof`);
  if (state.chosen !== id) return;
  showFacts($("proof"), Object.entries(describeProof(proof)).filter(([, v]) => v !== undefined));
}

function describeProof(proof) {
  const first = proof.statements?.[0];
  return {
    verdict: "verified before it was published",
    size: formatBytes(proof.n_bytes),
    sha256: proof.sha256,
    correct: proof.n_real ? `${proof.claimed_correct} of ${proof.n_real}` : undefined,
    shards: proof.statements?.length || undefined,
    steps: proof.training?.steps.length,
    "model at the end": proof.training?.export?.model,
    "model commitment": first?.commitments[0],
    "verifying key": first?.verifying_key_digest,
    "data digest": first?.dataset_digest,
    seconds: proof.seconds?.toFixed(2),
  };
}

async function cancel() {
  try {
    await ask(`/v1/jobs/${state.chosen}`, { method: "DELETE" });
    await refresh();
  } catch (error) {
    report(error);
  }
}

async function download() {
  try {
    const id = state.chosen;
    const headers = { Accept: "application/octet-stream" };
    const blob = await (await ask(`/v1/jobs/${id}/proof`, { headers })).blob();
    const link = element("a", { href: URL.createObjectURL(blob), download: `${id.slice(0, 16)}.zkp` });
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    report(error);
  }
}

function report(error) {
  $("health").textContent = error.message;
  $("key-form").hidden = error.status !== 401;
}

async function refresh() {
  const [jobs, queue, workers] = await Promise.all(
    ["/v1/jobs?limit=50", "/v1/queue", "/v1/workers"].map(askJson),
  );
  state.jobs = jobs.jobs;
  showQueue(queue);
  showWorkers(workers.workers);
  showJobs(state.jobs);
  await showDetail();
  await refreshChain(askJson);
  const busy = state.jobs.some((job) => !isFinal(job.state));
  $("health").textContent = busy ? "proving" : "idle";
  $("key-form").hidden = true;
  return busy;
}

async function poll() {
  let busy = false;
  try {
    if (!document.hidden) busy = await refresh();
  } catch (error) {
    report(error);
  }
  setTimeout(poll, busy ? POLL_MS : Math.min(IDLE_POLL_MS, 2 * POLL_MS));
}

function onKey(event) {
  if (event.key === "Escape" && state.chosen) close();
  const buttons = [...$("jobs").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, at + step))].focus();
}

$("close").addEventListener("click", close);
$("cancel").addEventListener("click", cancel);
$("download").addEventListener("click", download);
document.addEventListener("keydown", onKey);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  $("key").value = "";
  refresh().catch(report);
});
setUpProving({ ask, openJob });
poll();
