// Pictures while something is being set: the host runs one node of the graph as it is now, and takes
// what stands before it from its cache. No route of our own is needed.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { t } from "./texts.js";

const REST = 1000; // milliseconds
const LIVE = "cycle-live"; // class of the page meanwhile; panel.css hides the banner
const BANNER = "[data-testid=queue-notification-banner]"; // in which the host says "Job completed"
const LATE = 5000; // so long after a run the host may begin to say it, and then once for each of many
const runs = new Map(); // ours, by their ids, until they are out of the host's history
const early = new Map(); // what was said of a run's end before its id was known
let sending = 0;
let rest; // the last run has no other after it
let quiet;

/** Runs one node whenever asked: at most one run is on its way, and what was asked for meanwhile is
 * one more run, of what is set by then. */
export class Live {
  #wanted = false;
  #busy = false;
  moving = false; // whether what was asked for last is a picture that another one is to follow

  /** tell(sentence): what went wrong, or "" where nothing did; called at the end of each run. */
  constructor(node, tell) {
    Object.assign(this, { node, tell });
  }

  /** moving: for a smaller picture, in less time. */
  async ask(moving = false) {
    this.moving = moving;
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      this.tell(await run(this.node, this.moving).catch(reason));
    }
    this.#busy = false;
  }
}

/** Run a node, and what it needs that is not cached; "" or a sentence that says what went wrong. */
async function run(node, moving) {
  const prompt = await app.graphToPrompt();
  const targets = executionIds(node).filter((id) => id in prompt.output);
  if (!targets.length) return t("This node is muted or bypassed, so there is no picture.");
  if (moving) for (const id of targets) prompt.output[id].inputs.moving = true;
  sending += 1;
  clearTimeout(quiet);
  document.body.classList.add(LIVE);
  try {
    // before what waits in the queue, and without the host's own steps around a run: these would
    // set new seeds, and with them another person, at each move
    const options = { partialExecutionTargets: targets };
    const { prompt_id: id } = await api.queuePrompt(-1, prompt, options);
    return await end(id);
  } finally {
    sending -= 1;
    if (!sending) early.clear();
    clearTimeout(quiet);
    quiet = setTimeout(endQuiet, LATE);
  }
}

/** Let the host's banner be seen again, when it has said all that it has to say of our runs. */
function endQuiet() {
  if (sending || document.querySelector(BANNER)) quiet = setTimeout(endQuiet, REST);
  else document.body.classList.remove(LIVE);
}

/** What is said at the end of a run of ours. */
async function end(id) {
  const said = await new Promise((resolve) => {
    runs.set(id, { ended: false, deleted: 0, resolve });
    if (early.has(id)) endOf(id, early.get(id));
  });
  clearTimeout(rest);
  rest = setTimeout(tidy, REST);
  return said;
}

function endOf(id, said) {
  const run = runs.get(id);
  if (run && !run.ended) {
    run.ended = true;
    run.resolve(said);
  } else if (!run && sending) early.set(id, said); // ours?
}

/** Nothing more is reported of what was taken out of the queue. */
function endAll() {
  for (const id of runs.keys()) endOf(id, "");
}

/** Take our runs out of the history: it is for results, and the front end reads all of it at each
 * run. A run gets there a little after its end is reported, so that one look may be too early. */
function tidy() {
  const ended = [...runs].filter(([, run]) => run.ended);
  if (!ended.length) return;
  for (const [id, run] of ended) if (run.deleted++) runs.delete(id);
  const ids = ended.map(([id]) => id);
  api.fetchApi("/history", { method: "POST", body: JSON.stringify({ delete: ids }) }).catch(() => {});
}

const ENDS = {
  execution_success: () => "",
  execution_interrupted: () => t("Cancelled."),
  execution_error: (detail) => detail.exception_message.trim(),
};
for (const [kind, sentence] of Object.entries(ENDS)) {
  api.addEventListener(kind, ({ detail }) => endOf(detail.prompt_id, sentence(detail)));
}
api.addEventListener("status", ({ detail }) => {
  tidy();
  if (detail?.exec_info?.queue_remaining === 0) endAll();
});
api.addEventListener("reconnected", endAll);

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
