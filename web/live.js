// Pictures while something is being set: the host runs one node of the graph as it is now, and takes
// what stands before it from its cache. No route of our own is needed.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { connect, name } from "./own_socket.js";

const REST = 1000; // milliseconds
const runs = new Map(); // ours, by their ids, until they are out of the host's history
const early = new Map(); // what was told before an id was known: id -> [[method, argument]]
let sending = 0;
let rest; // the last run has no other after it
let cached; // what the last run of ours needed, while no other has come after it

/** Runs one node whenever asked: at most one run is on its way, and what was asked for meanwhile is
 * one more run, of what is set by then. */
export class Live {
  #wanted = false;
  #busy = false;

  /** show(output): what the node gave, where the host does not tell the node itself. tell(sentence):
   * what went wrong, or "" where nothing did; called at the end of each run. */
  constructor(node, show, tell) {
    Object.assign(this, { node, show, tell });
  }

  async ask() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      this.tell(await run(this.node, this.show).catch(reason));
    }
    this.#busy = false;
  }
}

/** Run a node, and what it needs that is not cached; "" or a sentence that says what went wrong.
 *
 * Where all is cached, the host's page is not told what the run tells: it would draw the whole graph
 * anew several times, which takes longer than the run. */
async function run(node, show) {
  const { output, ...more } = await app.graphToPrompt();
  const targets = executionIds(node).filter((id) => id in output);
  if (!targets.length) return "This node is muted or bypassed, so there is no picture.";
  const needed = without(output, targets);
  const alone = connect(heard, () => all(true)) && needed === cached;
  sending += 1;
  try {
    // before what waits in the queue, and without the host's own steps around a run: these would
    // draw new seeds, and with them another person, at each move
    const { prompt_id: id } = alone
      ? await send(output, targets)
      : await api.queuePrompt(-1, { output, ...more }, { partialExecutionTargets: targets });
    const sentence = await end(id, { alone, show });
    cached = sentence ? undefined : needed;
    return sentence;
  } finally {
    sending -= 1;
    if (!sending) early.clear();
  }
}

/** As `api.queuePrompt`, with our own name. */
async function send(output, targets) {
  const body = {
    client_id: name(),
    prompt: output,
    partial_execution_targets: targets,
    front: true,
    extra_data: {},
  };
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await api.fetchApi("/prompt", options);
  if (answer.ok) return answer.json();
  throw Object.assign(new Error(answer.statusText), { response: await answer.json() });
}

/** What the nodes before some others are to run with, and how these are connected; not what is set
 * in these themselves. */
function without(output, targets) {
  const links = (inputs) => Object.entries(inputs).filter(([, value]) => Array.isArray(value));
  const parts = Object.entries(output).map(([id, { class_type: kind, inputs }]) =>
    targets.includes(id) ? [id, kind, links(inputs)] : [id, kind, inputs]
  );
  return JSON.stringify([targets, parts]);
}

/** What is told at the end of a run of ours. alone: on our own connection. */
async function end(id, { alone, show }) {
  const sentence = await new Promise((resolve) => {
    runs.set(id, { alone, show, end: resolve, ended: false, deleted: 0 });
    for (const [method, what] of early.get(id) ?? []) told(id, method, what);
  });
  runs.get(id).ended = true;
  clearTimeout(rest);
  rest = setTimeout(tidy, REST);
  return sentence;
}

/** method: "show" or "end". */
function told(id, method, what) {
  if (runs.has(id)) runs.get(id)[method](what);
  else if (sending) early.set(id, [...(early.get(id) ?? []), [method, what]]); // perhaps ours
}

/** Nothing more will be told to the host's page, or to us alone. */
function all(alone) {
  for (const run of runs.values()) if (run.alone === alone) run.end("");
}

/** Take our runs out of the history: it is for results, and the front end reads all of it at each
 * run. A run gets there a little after its end is told, so that one look may be too early. */
function tidy() {
  const ended = [...runs].filter(([, run]) => run.ended);
  if (!ended.length) return;
  for (const [id, run] of ended) if (run.deleted++) runs.delete(id);
  const ids = ended.map(([id]) => id);
  api.fetchApi("/history", { method: "POST", body: JSON.stringify({ delete: ids }) }).catch(() => {});
}

const ends = {
  execution_success: () => "",
  execution_interrupted: () => "Cancelled.",
  execution_error: (detail) => detail.exception_message.trim(),
};

for (const [kind, sentence] of Object.entries(ends)) {
  api.addEventListener(kind, ({ detail }) => told(detail.prompt_id, "end", sentence(detail)));
}
api.addEventListener("execution_start", () => (cached = undefined)); // another may empty the cache
api.addEventListener("status", ({ detail }) => {
  tidy();
  if (detail?.exec_info?.queue_remaining === 0) all(false); // also those that were taken out of it
});
api.addEventListener("reconnected", () => all(false));

/** The same on our own connection. */
function heard(kind, detail) {
  if (kind in ends) told(detail.prompt_id, "end", ends[kind](detail));
  else if (kind === "executed") told(detail.prompt_id, "show", detail.output);
  else if (kind === "status" && detail.status?.exec_info?.queue_remaining === 0) all(true);
}

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
