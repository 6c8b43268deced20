import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { Window } from "happy-dom";
import { act, createElement as h, type ReactNode, StrictMode, useEffect, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";

import type { Answer, Operation } from "../src/index.js";
import { SignalProvider, type SignalProviderProps, useTrackEvent, useTrackWhen } from "../src/react.js";
import { JOURNEY } from "./helpers.js";

const window = new Window({ url: "https://admin.example.org/journeys" });
Object.assign(globalThis, { window, document: window.document, sessionStorage: window.sessionStorage, IS_REACT_ACT_ENVIRONMENT: true });

let sent: { eventType: string; route?: string | undefined }[];
let root: Root;
let place: HTMLElement;
const transport = async ({ variables }: Operation): Promise<Answer> => {
  sent.push(variables.input as (typeof sent)[number]);
  return { data: { eventCreate: { id: "1" } } };
};

const provider = (children: ReactNode, changes: Partial<SignalProviderProps> = {}): ReactNode =>
  h(SignalProvider, {
    appName: "journeys-admin",
    getUser: () => ({ email: "user@example.org" }),
    internalEmails: "",
    transport,
    ...changes,
    children,
  } as SignalProviderProps);
const show = (node: ReactNode): Promise<void> => act(async () => root.render(node));
const click = (): Promise<void> => act(async () => place.querySelector("button")?.click());

function Button(): ReactNode {
  const track = useTrackEvent();
  const [clicks, setClicks] = useState(0);
  const onClick = (): void => {
    track("journey_create_clicked");
    setClicks(clicks + 1);
  };
  return h("button", { onClick }, clicks);
}

beforeEach(() => {
  sent = [];
  place = window.document.createElement("div") as unknown as HTMLElement;
  window.document.body.append(place as never);
  root = createRoot(place);
});
afterEach(async () => {
  await act(async () => root.unmount());
  mock.restoreAll();
});

describe("useTrackEvent", () => {
  it("sends one event per click, under StrictMode and after re-renders too", async () => {
    await show(h(StrictMode, null, provider(h(Button))));
    assert.equal(sent.length, 0);
    await click();
    assert.equal(sent.length, 1);
    await show(h(StrictMode, null, provider(h(Button))));
    await click();
    assert.deepEqual(sent.map((each) => each.eventType), ["journey_create_clicked", "journey_create_clicked"]);
  });

  it("gives the same function at each render, also with new options", async () => {
    const seen = new Set();
    const Watcher = (): null => {
      seen.add(useTrackEvent());
      return null;
    };
    for (const route of ["/a", "/b"]) await show(provider(h(Watcher), { getRoute: () => route }));
    assert.equal(seen.size, 1);
  });

  it("uses the options of the last render", async () => {
    await show(provider(h(Button), { getUser: () => undefined, getRoute: () => "/loading" }));
    await click();
    assert.equal(sent.length, 0);
    await show(provider(h(Button), { getRoute: () => "/a" }));
    await click();
    await show(provider(h(Button)));
    await click();
    assert.deepEqual(sent.map((each) => each.route), ["/a", undefined]);
    await show(provider(h(Button), { getUser: () => null }));
    await click();
    assert.equal(sent.length, 2);
  });

  it("has them before a child's first effect", async () => {
    const Eager = (): null => {
      const track = useTrackEvent();
      useEffect(() => track("journey_create_clicked"), [track]);
      return null;
    };
    await show(provider(h(Eager), { getRoute: () => "/first" }));
    assert.deepEqual(sent.map((each) => each.route), ["/first"]);
  });

  it("outside a provider sends nothing, and says so", async () => {
    const warn = mock.method(console, "warn", () => undefined);
    await show(h(Button));
    await click();
    assert.equal(sent.length, 0);
    assert.equal(warn.mock.callCount(), 1);
  });

  it("renders on a server, and sends nothing from there", () => {
    const error = mock.method(console, "error", () => undefined);
    assert.equal(renderToString(provider(h(Button))), "<button>0</button>");
    assert.deepEqual([sent.length, error.mock.callCount()], [0, 0]);
  });
});

describe("useTrackWhen", () => {
  const Overlay = ({ open }: { open: boolean }): null => {
    useTrackWhen(open, "editor_analytics_overlay_opened", { entity: { ...JOURNEY } });
    return null;
  };
  const overlay = (open: boolean): Promise<void> => show(h(StrictMode, null, provider(h(Overlay, { open }))));

  it("sends one event each time the condition becomes true", async () => {
    await overlay(false);
    assert.equal(sent.length, 0);
    await overlay(true);
    await overlay(true);
    assert.equal(sent.length, 1);
    await overlay(false);
    await overlay(true);
    assert.equal(sent.length, 2);
  });

  it("sends one event when it is true from the start, under StrictMode", async () => {
    await overlay(true);
    assert.deepEqual(sent.map((each) => each.eventType), ["editor_analytics_overlay_opened"]);
  });

  it("sends one more when the component is mounted again", async () => {
    await overlay(true);
    await show(null);
    await overlay(true);
    assert.equal(sent.length, 2);
  });
});
