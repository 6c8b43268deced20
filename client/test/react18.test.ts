/** The tests of the hooks on the oldest React that the package allows. */
import { after } from "node:test";

import { runAgain } from "./again.js";

// The `act` of React 18 opens channels and closes none; the process would never end.
const channels: MessageChannel[] = [];
globalThis.MessageChannel = class extends MessageChannel {
  constructor() {
    super();
    channels.push(this);
  }
};
after(() => channels.forEach((channel) => channel.port1.close()));

await runAgain("react.test.ts", { react: "react-18", "react-dom": "react-dom-18" });
