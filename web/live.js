// Pictures while something is being set: the host runs one node of the graph as it is now, and takes
// what stands before it from its cache. No route of our own is needed.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { connected } from "./own_socket.js";

const REST = 1000; // milliseconds
const LOST = Symbol("nobody can tell any more what became of a run");
const runs = new Map(); // ours, by their ids, until they are out of the host's history
const early = new Map(); // what was told before an id was known: id -> [[kind, detail, own]]
let sending = 0;
let rest; // the last run has no other after it
let done; // what the last run of ours needed, while no other that we know of has come after it

/** Runs one node whenever asked: at most one run is on its way, and what was asked for meanwhile is
 * one more run, of what is set by then. */
export class Live {
  #wanted = false;
  #busy = false;

  /** take(output): what the node gave, where the host does not tell the node itself. tell(sentence):
   * what went wrong, or "" where nothing did; called at the end of each run. */
  constructor(node, take, tell) {
    Object.assign(this, { node, take, tell });
  }

  async ask() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      this.tell(await run(this.node, this.take).catch(reason));
    }
    this.#busy = false;
  }
}

/** Run a node, and what it needs that is not cached; "" or a sentence that says what went wrong.
 *
 * Where all seems to be cached, we follow the run on a connection of our own: the host's page would
 * draw the whole graph anew for each thing that it is told, which takes longer than the run. */
async function run(node, take) {
  const { output, ...more } = await app.graphToPrompt();
  const targets = executionIds(node).filter((id) => id in output);
  if (!targets.length) return "This node is muted or bypassed, so there is no picture.";
  const needed = needs(output, targets);
  const own = connected(heard, () => endAll(true, LOST));
  const alone = needed === done ? own : undefined;
  sending += 1;
  try {
    // before what waits in the queue, and without the host's own steps around a run: these would
    // draw new seeds, and with them another person, at each move
    const { prompt_id: id } = alone
      ? await send(output, targets, alone.name, more.workflow)
      : await api.queuePrompt(-1, { output, ...more }, { partialExecutionTargets: targets });
    const { said, succeeded } = await end(id, targets, alone, take);
    done = succeeded ? needed : undefined;
    return said === LOST ? run(node, take) : said; // once: the next is not alone
  } finally {
    sending -= 1;
    if (!sending) early.clear();
  }
}

/** As `api.queuePrompt`, for another connection. */
async function send(output, targets, name, workflow) {
  const body = {
    client_id: name,
    prompt: output,
    partial_execution_targets: targets,
    front: true,
    extra_data: { extra_pnginfo: { workflow } },
  };
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await api.fetchApi("/prompt", options);
  if (answer.ok) return answer.json();
  const response = await answer.json().catch(() => undefined);
  throw Object.assign(new Error(answer.statusText), { response });
}

/** What the nodes before some others are to run with, and how these are connected, as text; not what
 * is set in these themselves. */
function needs(output, targets) {
  const links = (inputs) => Object.entries(inputs).filter(([, value]) => Array.isArray(value));
  const parts = Object.entries(output).map(([id, { class_type: kind, inputs }]) =>
    targets.includes(id) ? [id, kind, links(inputs)] : [id, kind, inputs]
  );
  return JSON.stringify([targets, parts]);
}

/** One that was sent. alone: whether only we are told of it. */
class Run {
  ended = false;
  deleted = 0; // times that it was taken out of the host's history
  #followed = false; // by the host's page, after all

  constructor(targets, alone, take, resolve) {
    Object.assign(this, { targets, alone, take, resolve });
  }

  /** own: whether our connection told it, which tells of what is alone and nothing else. */
  hear(kind, detail, own) {
    if (kind in ENDS && !this.ended) this.end(ENDS[kind](detail), kind === "execution_success");
    if (!own) return;
    const node = String(detail.display_node ?? detail.node);
    if (kind === "executed" && this.targets.includes(node)) this.take(detail.output);
    if (kind === "executing" && detail.node && !this.targets.includes(node) && !this.#followed) {
      // it was not cached, and may take minutes
      this.#followed = true;
      tellPage("execution_start", { prompt_id: detail.prompt_id });
    }
    if (this.#followed) tellPage(kind, detail);
  }

  end(said, succeeded = false) {
    this.ended = true;
    this.resolve({ said, succeeded });
  }
}

const ENDS = {
  execution_success: () => "",
  execution_interrupted: () => "Cancelled.",
  execution_error: (detail) => detail.exception_message.trim(),
};

/** As if the host's own connection had told it. */
function tellPage(kind, detail) {
  const what = kind === "executing" ? detail.display_node ?? detail.node : detail;
  api.dispatchEvent(new CustomEvent(kind, { detail: what }));
}

/** {said, succeeded}: what is said at the end of a run of ours. */
async function end(id, targets, alone, take) {
  const result = await new Promise((resolve) => {
    const run = new Run(targets, Boolean(alone), take, resolve);
    runs.set(id, run);
    for (const event of early.get(id) ?? []) run.hear(...event);
    if (alone && !alone.open && !run.ended) run.end(LOST);
  });
  clearTimeout(rest);
  rest = setTimeout(tidy, REST);
  return result;
}

/** own: whether our connection told it. */
function told(kind, detail, own) {
  const id = detail?.prompt_id;
  if (runs.has(id)) runs.get(id).hear(kind, detail, own);
  else if (sending && id) early.set(id, [...(early.get(id) ?? []), [kind, detail, own]]); // ours?
}

/** Nothing more will be told to the host's page, or to us alone. */
function endAll(alone, said = "") {
  for (const run of runs.values()) if (!run.ended && run.alone === alone) run.end(said);
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

for (const kind of Object.keys(ENDS)) {
  api.addEventListener(kind, ({ detail }) => told(kind, detail, false));
}
api.addEventListener("execution_start", () => (done = undefined)); // another may empty the cache
api.addEventListener("status", ({ detail }) => {
  tidy();
  if (detail?.exec_info?.queue_remaining !== 0) return;
  endAll(false); // also what was taken out of it
  const left = [...runs.values()].filter((run) => run.alone && !run.ended);
  setTimeout(() => left.forEach((run) => run.ended || run.end(LOST)), REST); // we were not told
});
api.addEventListener("reconnected", () => {
  endAll(false);
  endAll(true, LOST);
});

/** On our own connection, where all that a run tells comes before the state of the queue. */
function heard(kind, detail) {
  if (kind !== "status") told(kind, detail, true);
  else if (detail.status?.exec_info?.queue_remaining === 0) endAll(true);
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
