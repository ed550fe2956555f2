// Server-sent events over fetch, since EventSource sends no Authorization header.

const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10000;

// Reads events until one of type "end", resuming after a broken connection from the last id.
export async function readEvents(path, { open, signal, onEvent }) {
  let lastId = "";
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
      const answer = await open(path, { headers, signal });
      for await (const event of parse(answer.body)) {
        wait = FIRST_WAIT_MS;
        if (event.id) lastId = event.id;
        onEvent(event);
        if (event.type === "end") return;
      }
    } catch (error) {
      if (signal.aborted || (error.status >= 400 && error.status !== 429 && error.status < 500)) {
        throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(LAST_WAIT_MS, 2 * wait);
  }
}

async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event) yield event;
    }
  }
}

function parseBlock(block) {
  const event = { type: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at < 1) continue;
    const name = line.slice(0, at) === "event" ? "type" : line.slice(0, at);
    const value = line.slice(at + 1).replace(/^ /, "");
    if (name === "data") event.data += value;
    else if (name in event) event[name] = value;
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}
