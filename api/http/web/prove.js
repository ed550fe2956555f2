// A file that is dropped or chosen: a model is planned and proven, a proof verified and explained.

import { element, showFacts } from "./dom.js";
import { formatBytes, formatShare, formatSpan } from "./format.js";

const MODEL_MAGIC = "zkpotQM";
const MAX_FILE_BYTES = 1 << 26;
const USUAL_SAMPLES = 256;
const CALIBRATED = 1024;
const TYPING_MS = 250;
const OCTETS = { "Content-Type": "application/octet-stream" };
const $ = (id) => document.getElementById(id);

export function setUpProving({ ask, openJob }) {
  const state = { file: null, asked: 0, taken: 0, timer: 0 };

  const post = async (path, body, headers) =>
    (await ask(path, { method: "POST", body, headers })).json();
  const postJson = (path, value) =>
    post(path, JSON.stringify(value), { "Content-Type": "application/json" });

  // What is asked about a file is over when another one is taken: answers that come later are not shown.
  function follow() {
    const taken = state.taken;
    return () => taken === state.taken;
  }

  async function takeFiles([file, ...more]) {
    if (!file) return;
    reset();
    if (more.length) say("one file at a time, please", true);
    else await take(file, follow());
  }

  async function take(file, isCurrent) {
    say(`reads ${file.name}`);
    try {
      if (file.size === 0) throw new Error("it is empty");
      if (file.size > MAX_FILE_BYTES) throw new Error(`more than ${formatBytes(MAX_FILE_BYTES)}`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      const found = await askAbout(file.name, bytes);
      const datasets = await (await ask("/v1/datasets")).json();
      if (!isCurrent()) return;
      state.file = { ...found, name: file.name };
      offerFile(state.file);
      offerDatasets(datasets.datasets);
      say("");
      $("choice").hidden = false;
      if (state.file.model) await showPlan();
      if (!isCurrent()) return;
      if (state.file.proof) await verify();
      else $("dataset").focus();
    } catch (error) {
      if (isCurrent()) say(`${file.name}: ${error.message}`, true);
    }
  }

  // An ONNX network is imported when the data set for its scales is chosen.
  async function askAbout(name, bytes) {
    if (isModel(bytes)) return { model: await post("/v1/models", bytes, OCTETS) };
    if (name.toLowerCase().endsWith(".onnx")) return { onnx: bytes };
    return { proof: await post("/v1/proofs", bytes, OCTETS), bytes };
  }

  function offerFile(file) {
    if (file.model) offerModel(file.model);
    else if (file.onnx) offerOnnx(file.name);
    else offerProof(file.proof);
  }

  function offerOnnx(name) {
    $("choice").classList.add("import");
    $("subject").textContent = name;
    $("go").textContent = "Import";
    $("count").value = USUAL_SAMPLES;
  }

  async function importOnnx() {
    const isCurrent = follow();
    $("go").disabled = true;
    say(`imports ${state.file.name}, which may take a minute`);
    try {
      const [chosen] = $("dataset").selectedOptions;
      const [name] = chosen.value.split(":");
      const query = new URLSearchParams({
        dataset: `${name}:train[0:${Math.min(CALIBRATED, chosen.dataset.train)}]`,
        mean: $("mean").value,
        std: $("std").value,
      });
      const model = await post(`/v1/models/onnx?${query}`, state.file.onnx, OCTETS);
      if (!isCurrent()) return;
      state.file = { model, name: state.file.name };
      offerModel(model);
      say(model.notes.join("; "));
      await showPlan();
    } catch (error) {
      if (!isCurrent()) return;
      say(`${state.file.name}: ${error.message}`, true);
      $("go").disabled = false;
    }
  }

  function offerModel(model) {
    $("choice").classList.remove("import");
    $("subject").textContent = `${model.architecture}, ${model.n_parameters.toLocaleString("en")} parameters`;
    $("count").value = USUAL_SAMPLES;
    $("go").textContent = "Start the proof";
  }

  function offerProof(proof) {
    $("subject").textContent = `a proof of ${formatBytes(proof.n_bytes)}`;
    $("count").value = proof.n_real;
    $("go").textContent = "Verify";
  }

  function offerDatasets(datasets) {
    const options = datasets.flatMap((one) =>
      ["test", "train"].map((split) => {
        const option = element("option", { value: `${one.name}:${split}` });
        option.textContent = `${one.name}:${split}, ${one.here[split].toLocaleString("en")} here`;
        option.title = one.title;
        option.dataset.most = one.here[split];
        option.dataset.train = one.here.train;
        return option;
      }),
    );
    const before = $("dataset").value;
    $("dataset").replaceChildren(...options);
    if (before) $("dataset").value = before;
  }

  function readDataset() {
    const [chosen] = $("dataset").selectedOptions;
    $("count").max = chosen.dataset.most;
    return $("count").checkValidity() ? `${chosen.value}[0:${$("count").value}]` : null;
  }

  async function showPlan() {
    const dataset = readDataset();
    const asked = (state.asked += 1);
    $("go").disabled = true;
    if (!dataset) {
      showFacts($("plan"), []);
      $("plan-note").textContent = `1 to ${$("count").max} samples are here`;
      return;
    }
    try {
      const plan = await postJson("/v1/plan", { model_id: state.file.model.id, dataset });
      if (asked !== state.asked) return;
      showFacts($("plan"), describePlan(plan), true);
      $("plan-note").textContent = notePlan(plan);
      $("go").disabled = false;
    } catch (error) {
      if (asked !== state.asked) return;
      showFacts($("plan"), []);
      $("plan-note").textContent = error.message;
    }
  }

  async function start() {
    const dataset = readDataset();
    if (!dataset) return;
    $("go").disabled = true;
    try {
      const job = await postJson("/v1/jobs", { model_id: state.file.model.id, dataset });
      say(`started: job ${job.id.slice(0, 16)}`);
      await openJob(job.id);
    } catch (error) {
      say(error.message, true);
    } finally {
      $("go").disabled = false;
    }
  }

  // Without a choice yet: the first of the data sets that the proof is true of, else the first.
  async function verify(chosen = null) {
    const isCurrent = follow();
    const { proof, bytes } = state.file;
    if (!proof.circuit) {
      showVerdict({
        title: "not verified",
        words:
          "This service has no key that the proof names. Fetch the key from whom you trust, then " +
          "run zkpot verify.",
        proof,
      });
      return;
    }
    const proof_base64 = encode(bytes);
    const names = chosen ? [chosen] : listCandidates(proof);
    let answer = null;
    for (const dataset of names) {
      say(`verifies on ${dataset}`);
      answer = await postJson("/v1/verify", { proof_base64, circuit: proof.circuit.digest, dataset });
      if (!isCurrent()) return;
      if (answer.verdict === "valid") {
        $("dataset").value = dataset.split("[")[0];
        say("");
        showVerdict(explain(answer, dataset, proof));
        return;
      }
    }
    say("");
    showVerdict({
      title: "not valid",
      words: answer
        ? `On ${names.at(-1)}: ${answer.reason ?? answer.verdict}. Was it made for other samples?`
        : "No data set here has samples of its kind: choose others above.",
      proof,
    });
  }

  function listCandidates(proof) {
    const options = [...$("dataset").options].filter((o) => Number(o.dataset.most) >= proof.n_real);
    return options.map((option) => `${option.value}[0:${proof.n_real}]`);
  }

  function showVerdict({ title, words, proof, limits = [] }) {
    $("verdict-title").textContent = title;
    $("verdict-title").className = title === "valid" ? "good" : "bad";
    $("verdict-words").textContent = words;
    showFacts($("verdict-facts"), describeProof(proof));
    $("limits").replaceChildren(...limits.map((line) => element("li", {}, line)));
    $("not-proven").hidden = limits.length === 0;
    $("verdict").hidden = false;
    $("verdict").focus();
  }

  function reset() {
    $("choice").hidden = $("verdict").hidden = true;
    $("choice").classList.remove("import");
    $("plan-note").textContent = "";
    showFacts($("plan"), []);
    $("go").disabled = false;
    state.asked += 1;
    state.taken += 1;
  }

  function changed() {
    clearTimeout(state.timer);
    if (state.file?.model) state.timer = setTimeout(showPlan, TYPING_MS);
  }

  $("file").addEventListener("change", () => {
    const files = [...$("file").files];
    $("file").value = ""; // the same file again is a change again
    takeFiles(files);
  });
  $("dataset").addEventListener("change", changed);
  $("count").addEventListener("input", changed);
  $("choice").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.file.model) start();
    else if (state.file.onnx) importOnnx();
    else verify(readDataset()).catch((error) => say(error.message, true));
  });
  const over = (is) => $("drop").classList.toggle("over", is);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", () => over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    takeFiles(event.dataTransfer.files);
  });
}

function say(text, isBad = false) {
  $("said").textContent = text;
  $("said").className = isBad ? "bad" : "";
}

function isModel(bytes) {
  return new TextDecoder().decode(bytes.subarray(0, MODEL_MAGIC.length)) === MODEL_MAGIC;
}

function encode(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return btoa(text);
}

function describePlan(plan) {
  const { seconds } = plan;
  const key = plan.has_key ? "made already" : `${formatSpan(seconds.compile + seconds.setup)} once`;
  const room = Math.max(plan.has_key ? 0 : plan.setup_memory_bytes, plan.prove_memory_bytes);
  return [
    ["rows", plan.rows.toLocaleString("en")],
    ["proofs", plan.proofs === 1 ? "1" : `${plan.proofs} of ${plan.samples_per_proof} samples`],
    ["key", formatBytes(plan.key_bytes)],
    ["memory", formatBytes(room)],
    ["to make the key", key],
    ["to prove", formatSpan(seconds.load + seconds.prove)],
    ["to verify", formatSpan(seconds.verify)],
  ];
}

function notePlan(plan) {
  const notes = [];
  if (plan.proofs > 1) notes.push("Samples that one proof has no room for are proven in shards, one file.");
  if (plan.key_streams) notes.push("The key stays on disk: it is larger than the memory left for it.");
  notes.push(
    plan.worker ? `Estimated for the worker ${plan.worker}.` : "No worker is up yet: the job will wait for one.",
  );
  return notes.join(" ");
}

function explain(answer, dataset, proof) {
  const share = formatShare(answer.claimed_correct / answer.n_real);
  return {
    title: "valid",
    words:
      `A network of the architecture ${answer.architecture}, bound by the model commitment below, ` +
      `classifies at least ${answer.claimed_correct} of the ${answer.n_real} samples ${dataset} ` +
      `correctly (${share}). Nothing else about its weights is shown.`,
    proof,
    limits: answer.not_proven,
  };
}

function describeProof(proof) {
  const [first] = proof.statements;
  const facts = [
    ["states", `at least ${proof.claimed_correct} of ${proof.n_real} correct`],
    ["circuit", proof.circuit ? `${proof.circuit.architecture}, ${proof.circuit.n_samples} samples` : "unknown here"],
    ["model commitment", first.commitments[0]],
    ["data digest", first.dataset_digest],
    ["verifying key", first.verifying_key_digest],
    ["for", `chain ${first.chain_id}, task ${first.task_id}, round ${first.round_index}`],
    ["sha256", proof.sha256],
  ];
  if (proof.statements.length > 1) facts.push(["shards", proof.statements.length]);
  return facts;
}
