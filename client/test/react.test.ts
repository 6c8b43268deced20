import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { Window } from "happy-dom";
import {
  act, Activity, createElement as h, Fragment, type FunctionComponent, type ReactNode, StrictMode, Suspense, useEffect, useState, version,
} from "react";
import { flushSync } from "react-dom";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";

import type { Answer, Operation } from "../src/index.js";
import { SignalProvider, type SignalProviderProps, useTrackEvent, useTrackWhen } from "../src/react.js";
import { JOURNEY } from "./helpers.js";

const window = new Window({ url: "https://admin.example.org/journeys" });
Object.assign(globalThis, { window, document: window.document, sessionStorage: window.sessionStorage, IS_REACT_ACT_ENVIRONMENT: true });

let sent: { eventType: string; route?: string | undefined; entityId?: string | undefined }[];
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

const ANALYTICS = "editor_analytics_overlay_opened";
const STRATEGY = "editor_strategy_overlay_opened";
const OTHER_JOURNEY = { type: "journey", id: "7c9e6679-7425-40de-944b-e07fc1f90ae7" } as const;

interface OverlayProps {
  readonly open: boolean;
  readonly eventType?: typeof ANALYTICS | typeof STRATEGY;
  readonly entity?: { readonly type: "journey"; readonly id: string };
}

function Overlay({ open, eventType = ANALYTICS, entity = JOURNEY }: OverlayProps): null {
  useTrackWhen(open, eventType, { entity: { ...entity } });
  return null;
}

// In production there is no StrictMode, and its second run of each effect could hide a fault of the first.
for (const [mode, Mode] of Object.entries({ StrictMode, "no StrictMode": Fragment })) {
  const render = (node: ReactNode): Promise<void> => show(h(Mode, null, provider(node)));
  const overlay = (open: boolean, more: Omit<OverlayProps, "open"> = {}): Promise<void> => render(h(Overlay, { open, ...more }));
  const types = (): string[] => sent.map((each) => each.eventType);

  describe(`useTrackWhen, React ${version}, ${mode}`, () => {
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

    it("sends one event when it is true from the start", async () => {
      await overlay(true);
      assert.deepEqual(types(), [ANALYTICS]);
    });

    it("sends one more when the component is mounted again", async () => {
      await overlay(true);
      await render(null);
      await overlay(true);
      await render(h(Overlay, { key: "another", open: true }));
      assert.equal(sent.length, 3);
    });

    it("counts each opening that was shown, however quick", async () => {
      let setOpen: (open: boolean) => void = () => undefined;
      const Opening: FunctionComponent = () => {
        const [open, set] = useState(false);
        setOpen = set;
        return h(Overlay, { open });
      };
      await render(h(Opening));
      await act(async () => [true, false, true].forEach((open) => flushSync(() => setOpen(open))));
      assert.equal(sent.length, 2);
      // One update: it never closed on the screen.
      await act(async () => [false, true].forEach((open) => setOpen(open)));
      assert.equal(sent.length, 2);
    });

    const loading = { getUser: () => undefined };
    const as = (changes: Partial<SignalProviderProps>, node: ReactNode): Promise<void> => show(h(Mode, null, provider(node, changes)));

    it("waits while the user is loading, and sends one event once the user is there", async () => {
      const children = h(Overlay, { open: true }); // React renders it again only if something tells it to.
      await as(loading, children);
      await as(loading, children);
      assert.equal(sent.length, 0);
      await as({}, children);
      assert.equal(sent.length, 1);
      await as(loading, children);
      await as({}, children);
      assert.equal(sent.length, 1);
    });

    it("sends nothing for what closed while the user was loading, or for nobody", async () => {
      await as(loading, h(Overlay, { open: true }));
      await as(loading, h(Overlay, { open: false }));
      await as({}, h(Overlay, { open: false }));
      const drops: string[] = [];
      const nobody = { getUser: () => null, onDrop: (_: string, reason: string) => drops.push(reason) };
      for (let render = 0; render < 2; render++) await as(nobody, h(Overlay, { open: true }));
      await as({}, h(Overlay, { open: true }));
      assert.deepEqual([sent.length, drops], [0, ["no_user"]]);
    });

    it("keeps several of one component apart", async () => {
      const Two = ({ first, second }: { first: boolean; second: boolean }): null => {
        useTrackWhen(first, ANALYTICS, { entity: JOURNEY });
        useTrackWhen(second, STRATEGY, { entity: JOURNEY });
        return null;
      };
      await render(h(Two, { first: true, second: false }));
      await render(h(Two, { first: true, second: true }));
      await render(h(Two, { first: false, second: true }));
      await render(h(Two, { first: true, second: true }));
      assert.deepEqual(types(), [ANALYTICS, STRATEGY, ANALYTICS]);
    });

    it("takes another event type for another opening", async () => {
      for (const eventType of [ANALYTICS, STRATEGY, STRATEGY, ANALYTICS] as const) await overlay(true, { eventType });
      await overlay(false, { eventType: STRATEGY });
      assert.deepEqual(types(), [ANALYTICS, STRATEGY, ANALYTICS]);
    });

    it("takes another entity for the same opening, and sends the entity of the next", async () => {
      await overlay(true);
      await overlay(true, { entity: OTHER_JOURNEY });
      assert.deepEqual(sent.map((each) => each.entityId), [JOURNEY.id]);
      await overlay(false, { entity: OTHER_JOURNEY });
      await overlay(true, { entity: OTHER_JOURNEY });
      assert.deepEqual(sent.map((each) => each.entityId), [JOURNEY.id, OTHER_JOURNEY.id]);
    });

    it("counts once what waits in Suspense, before it is shown and later", async () => {
      let arrived = false;
      let arrive: () => void = () => undefined;
      let arrival = Promise.resolve();
      const Content = (): null => {
        if (!arrived) throw arrival;
        return null;
      };
      const load = async (): Promise<void> => {
        arrived = false;
        arrival = new Promise((resolve) => (arrive = resolve));
        await render(h(Suspense, { fallback: "loading" }, h(Overlay, { open: true }), h(Content)));
        assert.equal(place.textContent, "loading");
      };
      const finish = (): Promise<void> =>
        act(async () => {
          arrived = true;
          arrive();
        });
      await load();
      assert.equal(sent.length, 0);
      await finish();
      assert.equal(sent.length, 1);
      await load();
      await finish();
      assert.equal(place.textContent, "");
      assert.equal(sent.length, 1);
    });
  });

  // React 19.2 brought it.
  if (Activity) {
    describe(`useTrackWhen inside an Activity, React ${version}, ${mode}`, () => {
      const tab = (visible: boolean, open: boolean): Promise<void> =>
        render(h(Activity, { mode: visible ? "visible" : "hidden", children: h(Overlay, { open }) }));

      const histories: [name: string, events: number, steps: [visible: boolean, open: boolean][]][] = [
        ["closed while hidden, opened later", 2, [[true, true], [false, true], [false, false], [true, false], [true, true]]],
        ["closed and hidden at once, shown and opened at once", 2, [[true, true], [false, false], [true, true]]],
        ["closed while hidden, shown and opened at once", 2, [[true, true], [false, true], [false, false], [true, true]]],
        ["closed and opened again while hidden", 2, [[true, true], [false, true], [false, false], [false, true], [true, true]]],
        ["hidden and shown while it stays open", 1, [[true, true], [false, true], [true, true], [false, true], [true, true]]],
        ["opened while hidden, and shown", 1, [[true, false], [false, false], [false, true], [true, true]]],
        ["opened and closed while hidden, never seen", 0, [[true, false], [false, false], [false, true], [false, false], [true, false]]],
        ["hidden and open from the start, never seen", 0, [[false, true], [false, true]]],
        ["hidden and open from the start, and shown", 1, [[false, true], [true, true]]],
        ["only closed while hidden", 1, [[true, true], [false, true], [false, false], [true, false]]],
      ];
      for (const [name, events, steps] of histories) {
        it(`${events} for an overlay that is ${name}`, async () => {
          for (const [visible, open] of steps) await tab(visible, open);
          assert.equal(sent.length, events);
        });
      }

      it("sees a closing that the component's own state makes", async () => {
        let setOpen: (open: boolean) => void = () => undefined;
        const Own = (): ReactNode => {
          const [open, set] = useState(true);
          setOpen = set;
          return h(Overlay, { open });
        };
        const own = (visible: boolean): Promise<void> => render(h(Activity, { mode: visible ? "visible" : "hidden", children: h(Own) }));
        await own(true);
        await own(false);
        await act(async () => setOpen(false));
        await own(true);
        await act(async () => setOpen(true));
        assert.equal(sent.length, 2);
      });

      it("counts beside an Activity that is itself the overlay", async () => {
        const Beside = ({ open }: { open: boolean }): ReactNode => {
          useTrackWhen(open, ANALYTICS, { entity: JOURNEY });
          return h(Activity, { mode: open ? "visible" : "hidden", children: "overlay" });
        };
        for (const open of [true, false, true]) await render(h(Beside, { open }));
        assert.equal(sent.length, 2);
      });
    });
  }
}
