// A second connection to the host, as another page of it would have, for runs that the page itself
// need not follow.

import { api } from "../../scripts/api.js";

let current; // {name, open}: the connection, until it is closed

/** The connection, if it is open: `name` is what the host knows it by, `open` whether it is.
 * Else undefined, and it is opened for the next time. heard(kind, detail): what the host tells;
 * lost(): nothing more will be told. */
export function connected(heard, lost) {
  if (current) return current.open ? current : undefined;
  if (!api.socket?.url) return undefined;
  const address = new URL(api.socket.url);
  const name = `cycle-live-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  address.searchParams.set("clientId", name);
  const socket = new WebSocket(address);
  current = {
    name,
    get open() {
      return socket.readyState === WebSocket.OPEN;
    },
  };
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") return; // previews
    const { type, data: detail } = JSON.parse(data);
    heard(type, detail);
  };
  socket.onclose = () => {
    current = undefined; // the next one is opened when it is needed
    lost();
  };
  return undefined;
}
