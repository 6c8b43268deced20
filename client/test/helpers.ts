/** What the unit tests share: a recorded `fetch`, a tracker with a user, and a clock that the test moves. */
import { mock } from "node:test";

import { createTracker, type Tracker, type TrackerOptions } from "../src/index.js";

export const NOON = Date.parse("2026-11-25T12:00:00Z");
export const JOURNEY = { type: "journey", id: "550e8400-e29b-41d4-a716-446655440000" } as const;

export interface Request {
  readonly url: string;
  readonly init: RequestInit & { headers: Record<string, string> };
  readonly body: { query: string; variables: { input: Sent | Sent[] } };
}
export interface Sent {
  readonly [field: string]: unknown;
  readonly clientEventId: string;
  readonly sessionId: string;
}

/** A `fetch` that records requests, and answers with what `answers` says, the last one again and again. */
export function recordFetch(...answers: (() => Response | Promise<Response>)[]): Request[] {
  const requests: Request[] = [];
  mock.method(globalThis, "fetch", async (url: string, init: Request["init"]) => {
    requests.push({ url, init, body: JSON.parse(String(init.body)) as Request["body"] });
    return (answers[Math.min(requests.length, answers.length) - 1] ?? stored)();
  });
  return requests;
}

export const stored = (): Response => Response.json({ data: { eventCreate: { id: "1" } } });
export const status = (code: number) => (): Response => new Response("no", { status: code });
export const offline = (): never => {
  throw new TypeError("Failed to fetch");
};

/** The one event of a request. */
export const input = (request: Request | undefined): Sent => [request?.body.variables.input].flat()[0] as Sent;

export interface Heard {
  readonly tracker: Tracker;
  readonly drops: string[];
  readonly errors: string[];
}

/** A tracker of a loaded user; `changes` replace its options. Hears drops and errors as `type reason`. */
export function tracker(changes: Partial<TrackerOptions> = {}): Heard {
  const drops: string[] = [];
  const errors: string[] = [];
  const options = {
    endpoint: "https://api.example.org/graphql",
    appName: "journeys-admin",
    getToken: () => "a.b.c",
    getUser: () => ({ email: "user@example.org" }),
    internalEmails: "boss@example.org, Dev@Example.org",
    getRoute: () => "/journeys/[journeyId]",
    onDrop: (type: string, reason: string) => drops.push(`${type} ${reason}`),
    onError: (type: string, name: string) => errors.push(`${type} ${name}`),
    ...changes,
  } as TrackerOptions;
  return { tracker: createTracker(options), drops, errors };
}

/** Lets everything run that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the mocked clock, and lets what was due run. */
export async function wait(milliseconds: number): Promise<void> {
  mock.timers.tick(milliseconds);
  await settle();
}

/** What a page has and Node has not, as far as the client touches it. */
export class FakePage extends EventTarget {
  readonly sessionStorage: Storage;
  visibilityState = "visible";

  constructor(readonly stored = new Map<string, string>()) {
    super();
    this.sessionStorage = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => void stored.set(key, value),
    } as Storage;
  }

  /** Makes this the page that the client runs in, as after loading a document. */
  open(): this {
    Reflect.deleteProperty(globalThis, Symbol.for("signal.session"));
    Object.assign(globalThis, {
      sessionStorage: this.sessionStorage,
      addEventListener: this.addEventListener.bind(this),
      document: this,
    });
    return this;
  }

  fire(name: string, fields: object = {}): void {
    this.dispatchEvent(Object.assign(new Event(name), fields));
  }
}
