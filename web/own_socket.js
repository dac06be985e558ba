// A second connection to the host, as another page of it would have, for runs that the page itself
// need not follow.

import { api } from "../../scripts/api.js";

let socket;

/** What the host knows the connection by. */
export function name() {
  return `${api.clientId}-live`;
}

/** Whether there is one; else it is opened, for the next time. heard(kind, detail): what the host
 * tells; lost(): nothing more will be told. */
export function connect(heard, lost) {
  if (socket) return socket.readyState === WebSocket.OPEN;
  if (!api.socket?.url) return false;
  const address = new URL(api.socket.url);
  address.searchParams.set("clientId", name());
  const mine = (socket = new WebSocket(address));
  mine.onmessage = ({ data }) => {
    if (typeof data !== "string") return; // previews
    const { type, data: detail } = JSON.parse(data);
    heard(type, detail);
  };
  mine.onclose = () => {
    socket = undefined; // the next one is opened when it is needed
    lost();
  };
  return false;
}
