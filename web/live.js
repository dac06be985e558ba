// Pictures while something is being set: the host runs one node of the graph as it is now, and takes
// what stands before it from its cache. No route of our own is needed.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const REST = 1000; // milliseconds
const ended = new Map(); // runs that ended before the host told their id: id -> what was told
const waiting = new Map(); // runs that are on their way: id -> what to do at their end
const history = new Map(); // runs that may be in the host's history -> how often they were deleted
let sending = 0;
let rest; // the last run has no other after it

/** Runs one node whenever asked: at most one run is on its way, and what was asked for meanwhile is
 * one more run, of what is set by then. */
export class Live {
  #wanted = false;
  #busy = false;

  /** tell(sentence): what went wrong, or "" where nothing did; called at the end of each run. */
  constructor(node, tell) {
    this.node = node;
    this.tell = tell;
  }

  get busy() {
    return this.#busy;
  }

  async ask() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      this.tell(await run(this.node).catch(reason));
    }
    this.#busy = false;
  }
}

/** Run a node, and what it needs that is not cached; "" or a sentence that says what went wrong. */
async function run(node) {
  const prompt = await app.graphToPrompt();
  const targets = executionIds(node).filter((id) => id in prompt.output);
  if (!targets.length) return "This node is muted or bypassed, so there is no picture.";
  sending += 1;
  try {
    // before what waits in the queue, and without the host's own steps around a run: these would
    // draw new seeds, and with them another person, at each move
    const { prompt_id: id } = await api.queuePrompt(-1, prompt, { partialExecutionTargets: targets });
    return await end(id);
  } finally {
    sending -= 1;
    if (!sending) ended.clear();
  }
}

/** What is told at the end of a run of ours. */
async function end(id) {
  const sentence = ended.has(id)
    ? ended.get(id)
    : await new Promise((resolve) => waiting.set(id, resolve));
  waiting.delete(id);
  history.set(id, 0);
  clearTimeout(rest);
  rest = setTimeout(tidy, REST);
  return sentence;
}

function told(id, sentence) {
  if (waiting.has(id)) waiting.get(id)(sentence);
  else if (sending) ended.set(id, sentence); // perhaps ours
}

/** Take our runs out of the history: it is for results, and the front end reads all of it at each
 * run. A run gets there a little after its end is told, so that one look may be too early. */
function tidy() {
  const ids = [...history.keys()];
  if (!ids.length) return;
  for (const [id, times] of history) times ? history.delete(id) : history.set(id, 1);
  api.fetchApi("/history", { method: "POST", body: JSON.stringify({ delete: ids }) }).catch(() => {});
}

function all() {
  for (const id of waiting.keys()) told(id, "");
}

api.addEventListener("execution_success", ({ detail }) => told(detail.prompt_id, ""));
api.addEventListener("execution_interrupted", ({ detail }) => told(detail.prompt_id, "Cancelled."));
api.addEventListener("execution_error", ({ detail }) =>
  told(detail.prompt_id, detail.exception_message.trim())
);
api.addEventListener("status", ({ detail }) => {
  tidy();
  if (detail?.exec_info?.queue_remaining === 0) all(); // also those that were taken out of it
});
api.addEventListener("reconnected", all);

/** The ids under which a node runs: in a subgraph one for each place where that is used. */
function executionIds(node) {
  const find = (graph, before) =>
    graph.nodes.flatMap((one) => {
      if (one === node) return [`${before}${one.id}`];
      return one.subgraph ? find(one.subgraph, `${before}${one.id}:`) : [];
    });
  return find(app.rootGraph ?? app.graph, "");
}

/** What the host says of a run that it did not begin. */
function reason(error) {
  const { node_errors: nodes, error: whole } = error.response ?? {};
  const first = Object.values(nodes ?? {})[0];
  if (first) {
    // the host tells what is missing in an order that is another each time it starts
    const { message } = first.errors[0];
    const same = first.errors.filter((one) => one.message === message && one.details);
    const details = same.map((one) => one.details).sort().join(", ");
    return `${first.class_type}: ${[message, details].filter(Boolean).join(": ")}`;
  }
  return whole?.message ?? error.message;
}
