/** A small admin app, as the browser tests open it. What it does stands in the address: see `Setup`. */
import { ApolloClient, HttpLink, InMemoryCache } from "@apollo/client";
import { createPersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Activity, createElement as h, type ReactNode, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import { apolloTransport } from "../src/apollo.js";
import type { SignalUser } from "../src/index.js";
import { SignalProvider, type SignalProviderProps, useTrackEvent, useTrackWhen } from "../src/react.js";

interface Setup {
  readonly endpoint: string;
  readonly token: string;
  readonly journey: string;
  /** Whom `getUser` names: a loaded user unless said otherwise. */
  readonly user?: "loading" | "absent" | "internal";
  readonly batch?: boolean;
  readonly apollo?: boolean;
  /** With `apollo`: the app's own operations go as hashes. */
  readonly persisted?: boolean;
  /** The token is there only after a promise, as with most sign-in libraries. */
  readonly promised?: boolean;
  /** Where a click also goes, at once. */
  readonly next?: string;
}

const setup = JSON.parse(decodeURIComponent(location.search.slice(1))) as Setup;
const users: Record<string, SignalUser | null | undefined> = { loading: undefined, absent: null, internal: { email: "Boss@Example.org" } };
const entity = { type: "journey", id: setup.journey } as const;

function Overlay(): ReactNode {
  const [open, setOpen] = useState(false);
  useTrackWhen(open, "editor_analytics_overlay_opened", { entity });
  return h("button", { id: "overlay", onClick: () => setOpen(!open) }, String(open));
}

function Editor(): ReactNode {
  const track = useTrackEvent();
  const [clicks, setClicks] = useState(0);
  const [visible, setVisible] = useState(true);
  const onClick = (): void => {
    track("editor_helpscout_overlay_opened", { entity });
    setClicks((before) => before + 1);
    if (setup.next) location.assign(setup.next);
  };
  return h(
    "main",
    null,
    h("button", { id: "help", onClick }, clicks),
    h("button", { id: "tab", onClick: () => setVisible(!visible) }, "tab"),
    h(Activity, { mode: visible ? "visible" : "hidden", children: h(Overlay) }),
    h("a", { id: "leave", href: "/left", onClick: () => track("editor_helpscout_overlay_opened", { entity }) }, "leave"),
  );
}

const getToken = (): string | Promise<string> => (setup.promised ? Promise.resolve().then(() => setup.token) : setup.token);
const headers = { authorization: `JWT ${setup.token}` };
const http = new HttpLink({ uri: setup.endpoint, headers });
/** Takes its time, as hashing in a browser does. */
async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
const link = setup.persisted ? createPersistedQueryLink({ sha256 }).concat(http) : http;
const sending = setup.apollo
  ? { transport: apolloTransport(new ApolloClient({ cache: new InMemoryCache(), link })) }
  : { endpoint: setup.endpoint, getToken };
const options: SignalProviderProps = {
  ...sending,
  appName: "journeys-admin",
  getUser: () => (setup.user ? users[setup.user] : { email: "user@example.org" }),
  internalEmails: "boss@example.org",
  getRoute: () => location.href,
  batch: setup.batch,
};
createRoot(document.body.appendChild(document.createElement("div"))).render(h(StrictMode, null, h(SignalProvider, options, h(Editor))));
