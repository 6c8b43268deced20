import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { createTracker, type TrackerOptions } from "../src/index.js";
import { FakePage, input, JOURNEY, NOON, offline, recordFetch, settle, status, stored, tracker, wait } from "./helpers.js";

const RETRIES_OVER = 60_000;
const code = (name: string) => () => Response.json({ data: null, errors: [{ extensions: { code: name } }] });
let page: FakePage;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOON });
  page = new FakePage().open();
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

describe("an event", () => {
  it("is one POST with the wire's fields, kept alive, without a referrer", async () => {
    const requests = recordFetch();
    tracker().tracker.track("ai_translation_language_picked", { entity: JOURNEY, description: { language: "French" } });
    await settle();
    assert.equal(requests.length, 1);
    const { url, init, body } = requests[0]!;
    assert.equal(url, "https://api.example.org/graphql");
    assert.deepEqual(
      [init.method, init.keepalive, init.referrerPolicy, init.signal instanceof AbortSignal, init.headers],
      ["POST", true, "no-referrer", true, { "content-type": "application/json", authorization: "JWT a.b.c" }],
    );
    const { clientEventId, sessionId, ...rest } = input(requests[0]);
    assert.match(clientEventId, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
    assert.match(sessionId, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
    assert.deepEqual(rest, {
      eventType: "ai_translation_language_picked",
      appName: "journeys-admin",
      route: "/journeys/[journeyId]",
      entityType: "journey",
      entityId: JOURNEY.id,
      description: { language: "French" },
    });
    assert.match(body.query, /eventCreate\(input: \$input\)/);
    assert.doesNotMatch(JSON.stringify(body), /example\.org/);
  });

  it("is under way before track returns when the token is at hand", () => {
    const requests = recordFetch();
    tracker().tracker.track("journey_create_clicked");
    assert.equal(requests.length, 1);
  });

  it("waits for nothing but the token's promise", async () => {
    const requests = recordFetch();
    tracker({ getToken: async () => "a.b.c" }).tracker.track("journey_create_clicked");
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    assert.equal(requests.length, 1);
  });

  it("counts each call: two clicks carry two ids and one session", async () => {
    const requests = recordFetch();
    const { track } = tracker().tracker;
    track("journey_create_clicked");
    track("journey_create_clicked");
    const [first, second] = requests.map(input);
    assert.notEqual(first!.clientEventId, second!.clientEventId);
    assert.equal(first!.sessionId, second!.sessionId);
  });

  it("carries a template even where the app gives a URL, and no route where it gives none", () => {
    const requests = recordFetch();
    const routes = [`https://admin.example.org/journeys/${JOURNEY.id}?email=a@b.org`, null, undefined, "not a path"];
    for (const route of routes) tracker({ getRoute: () => route }).tracker.track("journey_create_clicked");
    tracker({ getRoute: () => assert.fail() }).tracker.track("journey_create_clicked");
    assert.deepEqual(requests.map((each) => input(each)["route"]), ["/journeys/[id]", undefined, undefined, undefined, undefined]);
  });

  it("keeps the description as it was at the call", async () => {
    const requests = recordFetch();
    const description = { language: "French" };
    tracker({ getToken: async () => "a.b.c" }).tracker.track("ai_translation_language_picked", { entity: JOURNEY, description });
    description.language = "changed";
    await settle();
    assert.deepEqual(input(requests[0])["description"], { language: "French" });
  });
});

describe("nothing is sent", () => {
  const cases: [string, Partial<TrackerOptions>, string][] = [
    ["while the user is loading", { getUser: () => undefined }, "user_loading"],
    ["without a user", { getUser: () => null }, "no_user"],
    ["for an internal user", { getUser: () => ({ email: "boss@example.org" }) }, "internal_user"],
    ["in whatever case the e-mail is written", { getUser: () => ({ email: " DEV@example.ORG " }) }, "internal_user"],
    ["with a list in an array", { internalEmails: [" User@Example.org "] }, "internal_user"],
    ["while the e-mail is not loaded, and could be on the list", { getUser: () => ({}) }, "user_loading"],
    ["while the e-mail is not loaded, with an empty list too", { getUser: () => ({}), internalEmails: "" }, "user_loading"],
  ];
  for (const [name, options, reason] of cases) {
    it(name, async () => {
      const requests = recordFetch();
      const getToken = mock.fn(() => "a.b.c");
      const heard = tracker({ ...options, getToken } as Partial<TrackerOptions>);
      heard.tracker.track("journey_create_clicked");
      await wait(RETRIES_OVER);
      assert.equal(requests.length, 0);
      assert.equal(getToken.mock.callCount(), 0);
      assert.equal(page.stored.size, 0);
      assert.deepEqual([heard.drops, heard.errors], [[`journey_create_clicked ${reason}`], []]);
    });
  }

  // Next.js refuses to serialise undefined, so apps write `?? null`; a template or a shell writes the word.
  const forgotten: [string, unknown][] = [
    ["undefined", undefined],
    ["null", null],
    ["a text made from undefined", `${undefined}`],
    ["a text made from null, beside an address", `boss@example.org,${null}`],
    ["an array of undefined", [undefined]],
    ["an array of null, beside an address", ["boss@example.org", null]],
  ];
  for (const [name, internalEmails] of forgotten) {
    it(`when the list is ${name}, as a forgotten build variable is`, () => {
      const requests = recordFetch();
      const heard = tracker({ internalEmails } as Partial<TrackerOptions>);
      heard.tracker.track("journey_create_clicked");
      assert.equal(requests.length, 0);
      assert.deepEqual([heard.drops, heard.errors], [[], ["journey_create_clicked NoInternalEmails"]]);
    });
  }

  it("when the user cannot be told", () => {
    const requests = recordFetch();
    const heard = tracker({ getUser: offline });
    heard.tracker.track("journey_create_clicked");
    assert.equal(requests.length, 0);
    assert.deepEqual(heard.errors, ["journey_create_clicked TypeError"]);
  });

  const tokens: [string, () => unknown][] = [
    ["null", () => null],
    ["undefined", () => undefined],
    ["empty", () => ""],
    ["a promise of none", () => Promise.resolve(null)],
    ["a failed sign-in", () => Promise.reject(Object.assign(new RangeError("secret"), { statusCode: 400 }))],
  ];
  for (const [name, getToken] of tokens) {
    it(`without a token: ${name}`, async () => {
      const requests = recordFetch();
      const heard = tracker({ getToken } as Partial<TrackerOptions>);
      heard.tracker.track("journey_create_clicked");
      await settle();
      for (let turn = 0; turn < 4; turn++) await wait(RETRIES_OVER);
      assert.equal(requests.length, 0);
      assert.equal(heard.errors.length, 1);
    });
  }

  it("but for a user who has no e-mail, and with an empty list", () => {
    const requests = recordFetch();
    tracker({ getUser: () => ({ email: null }) }).tracker.track("journey_create_clicked");
    tracker({ getUser: () => ({ email: "" }) }).tracker.track("journey_create_clicked");
    for (const internalEmails of ["", " , ", [], [""]]) tracker({ internalEmails }).tracker.track("journey_create_clicked");
    assert.equal(requests.length, 6);
  });
});

describe("a failure", () => {
  const healing = {
    "a network error": offline,
    "a 503": status(503),
    "a 429": status(429),
    "a 408, which says that the body came too slowly": status(408),
    "a 425": status(425),
    "an unavailable database": code("SERVICE_UNAVAILABLE"),
    "a 408 that a gateway passes on": code("REQUEST_TIMEOUT"),
  };
  for (const [name, answer] of Object.entries(healing)) {
    it(`is tried again after ${name}, with the same id`, async () => {
      const requests = recordFetch(answer, answer, stored);
      const heard = tracker();
      heard.tracker.track("journey_create_clicked");
      await settle();
      for (let turn = 0; turn < 5; turn++) await wait(RETRIES_OVER);
      assert.equal(requests.length, 3);
      assert.equal(new Set(requests.map((each) => input(each).clientEventId)).size, 1);
      assert.deepEqual([heard.drops, heard.errors], [[], []]);
    });
  }

  it("that stays is given up after four requests, and said once", async () => {
    const requests = recordFetch(offline);
    const heard = tracker();
    heard.tracker.track("journey_create_clicked");
    await settle();
    for (let turn = 0; turn < 10; turn++) await wait(RETRIES_OVER);
    assert.equal(requests.length, 4);
    assert.deepEqual(heard.errors, ["journey_create_clicked TypeError"]);
  });

  const final: Record<string, [() => Response, string]> = {
    "a 400": [status(400), "Http400"],
    "a 401": [status(401), "Http401"],
    "a refused caller": [code("UNAUTHENTICATED"), "UNAUTHENTICATED"],
    "a page of HTML": [() => new Response("<html>"), "SyntaxError"],
    "an empty answer": [() => new Response(""), "SyntaxError"],
    null: [() => new Response("null"), "NoData"],
    "a number": [() => new Response("7"), "NoData"],
    "odd JSON": [() => Response.json({ errors: "x", data: 1, extensions: 3 }), "GraphQLError"],
    "an error with a private name": [() => Response.json({ errors: [{ extensions: { code: "jane@example.org" } }] }), "Error"],
  };
  for (const [name, [answer, error]] of Object.entries(final)) {
    it(`is not tried again after ${name}`, async () => {
      const requests = recordFetch(answer);
      const heard = tracker();
      heard.tracker.track("journey_create_clicked");
      await settle();
      for (let turn = 0; turn < 5; turn++) await wait(RETRIES_OVER);
      assert.equal(requests.length, 1);
      assert.deepEqual(heard.errors, [`journey_create_clicked ${error}`]);
    });
  }

  it("waits on while the browser is offline", async () => {
    const requests = recordFetch(offline, stored);
    Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true });
    const { track } = tracker().tracker;
    track("journey_create_clicked");
    await settle();
    for (let turn = 0; turn < 5; turn++) await wait(RETRIES_OVER);
    assert.equal(requests.length, 1);
    page.fire("online");
    await settle();
    assert.equal(requests.length, 2);
    Reflect.deleteProperty(globalThis, "navigator");
  });

  it("that heals on the next UTC date comes too late: its session id belongs to the first", async () => {
    const requests = recordFetch(offline, stored);
    const heard = tracker();
    mock.timers.setTime(Date.parse("2026-11-25T23:59:59.900Z"));
    heard.tracker.track("journey_create_clicked");
    await settle();
    await wait(2_000);
    assert.equal(requests.length, 1);
    assert.deepEqual(heard.drops, ["journey_create_clicked expired"]);
  });

  const changes: [string, TrackerOptions["getUser"], string][] = [
    ["nobody is there", () => null, "no_user"],
    ["the user is loading again", () => undefined, "user_loading"],
    ["an internal user is there", () => ({ email: "boss@example.org" }), "internal_user"],
    ["another user is there", () => ({ email: "other@example.org" }), "user_changed"],
    ["the user cannot be told", offline, "TypeError"],
  ];
  for (const [name, getUser, reason] of changes) {
    it(`is not tried again, and a batch not sent, if ${name} by then`, async () => {
      const requests = recordFetch(offline, stored);
      const user = mock.fn<TrackerOptions["getUser"]>(() => ({ email: "user@example.org" }));
      const both = [tracker({ getUser: user }), tracker({ getUser: user, batch: true })];
      both.forEach((each) => each.tracker.track("journey_create_clicked"));
      await settle();
      user.mock.mockImplementation(getUser);
      await wait(2_000);
      assert.equal(requests.length, 1);
      const line = `journey_create_clicked ${reason}`;
      assert.deepEqual(both.flatMap(({ drops, errors }) => [...drops, ...errors]), [line, line]);
    });
  }

  it("takes its session id and its date from one moment, even if midnight comes in between", async () => {
    const requests = recordFetch();
    const heard = tracker();
    mock.timers.setTime(Date.parse("2026-11-25T23:59:59.999Z"));
    const description = {
      language: "French",
      toJSON: () => {
        mock.timers.setTime(Date.parse("2026-11-26T00:00:00.000Z"));
        return { language: "French" };
      },
    };
    heard.tracker.track("ai_translation_language_picked", { entity: JOURNEY, description });
    await settle();
    assert.equal(requests.length, 0);
    assert.deepEqual(heard.drops, ["ai_translation_language_picked expired"]);
  });

  it("of the app's own callbacks stays inside", async () => {
    recordFetch(status(400));
    const { track } = tracker({ onDrop: offline, onError: offline, getUser: () => null }).tracker;
    track("journey_create_clicked");
    tracker({ onError: offline }).tracker.track("journey_create_clicked");
    await settle();
  });

  it("of any kind never throws, nor rejects", async () => {
    // A real request would fail during a later test, and clear a timer of that test.
    recordFetch(offline);
    const rejections = mock.fn();
    process.on("unhandledRejection", rejections);
    const circular: { language: string; self?: unknown } = { language: "x" };
    circular.self = circular;
    const heard = tracker();
    heard.tracker.track("ai_translation_language_picked", { entity: JOURNEY, description: circular });
    for (const thrown of [null, undefined, "text", 7]) {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      const transport = () => Promise.reject(thrown);
      tracker({ endpoint: undefined, getToken: undefined, transport } as Partial<TrackerOptions>).tracker.track("journey_create_clicked");
    }
    // @ts-expect-error as JavaScript may call it
    for (const wrong of [null, undefined, {}, 7]) heard.tracker.track(wrong, wrong);
    await settle();
    for (let turn = 0; turn < 5; turn++) await wait(RETRIES_OVER);
    assert.equal(rejections.mock.callCount(), 0);
    process.off("unhandledRejection", rejections);
    assert.equal(heard.errors[0], "ai_translation_language_picked TypeError");
  });

  it("is logged as event type and error name alone", async () => {
    const lines: unknown[][] = [];
    mock.method(console, "warn", (...line: unknown[]) => lines.push(line));
    recordFetch(() => Promise.reject(Object.assign(new Error("to secret-host"), { name: "jane@example.org", statusCode: 400 })));
    const silent = { onError: undefined, onDrop: undefined };
    const { track } = tracker(silent).tracker;
    track("ai_translation_language_picked", { entity: JOURNEY, description: { language: "a-secret" } });
    track("Not a type: a-secret" as "journey_create_clicked");
    tracker({ ...silent, getUser: () => null }).tracker.track("journey_create_clicked");
    await settle();
    assert.deepEqual(lines, [["signal: ai_translation_language_picked: Error"], ["signal: (other): Error"]]);
  });
});

describe("a token that takes long", () => {
  const EMAIL = { email: "user@example.org" };
  const changes: [string, TrackerOptions["getUser"], string][] = [
    ["nobody is there", () => null, "no_user"],
    ["an internal user is there", () => ({ email: "boss@example.org" }), "internal_user"],
    ["another user is there", () => ({ email: "other@example.org" }), "user_changed"],
    ["the UTC date is another one", () => EMAIL, "expired"],
  ];
  for (const [name, getUser, reason] of changes) {
    for (const batch of [false, true]) {
      it(`is not used${batch ? " for a batch" : ""} if ${name} by then`, async () => {
        const requests = recordFetch();
        const user = mock.fn<TrackerOptions["getUser"]>(() => EMAIL);
        let give = (_: string): void => undefined;
        const getToken = mock.fn(() => new Promise<string>((resolve) => (give = resolve)));
        const heard = tracker({ batch, getUser: user, getToken } as Partial<TrackerOptions>);
        for (let event = 0; event < 2; event++) heard.tracker.track("journey_create_clicked");
        await wait(2_000);
        // The computer sleeps: its clock goes on, and no timer fires.
        if (reason === "expired") mock.timers.setTime(Date.parse("2026-11-26T01:00:00Z"));
        user.mock.mockImplementation(getUser);
        give("t.of.another");
        await settle();
        assert.equal(requests.length, 0);
        assert.deepEqual([heard.drops, heard.errors], [Array<string>(2).fill(`journey_create_clicked ${reason}`), []]);
        assert.equal(getToken.mock.callCount(), 1);
      });
    }
  }

  it("is asked for again after ten seconds, and is not used when it comes after all", async () => {
    const requests = recordFetch();
    const gives: ((token: string) => void)[] = [];
    const heard = tracker({ getToken: () => new Promise<string>((resolve) => gives.push(resolve)) });
    heard.tracker.track("journey_create_clicked");
    await wait(9_999);
    assert.equal(gives.length, 1);
    await wait(1);
    await wait(2_000);
    assert.equal(gives.length, 2);
    gives[0]!("first");
    await settle();
    assert.equal(requests.length, 0);
    gives[1]!("second");
    await settle();
    assert.deepEqual(requests.map((each) => each.init.headers["authorization"]), ["JWT second"]);
    assert.deepEqual([heard.drops, heard.errors], [[], []]);
  });

  const A = "a@example.org";
  const askers: [string, (string | null)[], boolean, number, string[]][] = [
    ["is shared by the events of one user", [A, A], true, 1, ["JWT 0", "JWT 0"]],
    ["is not shared by two users", [A, "b@example.org"], true, 2, ["JWT 1"]],
    ["is not shared by users without an e-mail, who can be two", [null, null], true, 2, ["JWT 0", "JWT 1"]],
    ["is not shared by two functions", [A, A], false, 2, ["JWT 0", "JWT 1"]],
  ];
  for (const [name, emails, isSame, calls, sent] of askers) {
    it(`${name}, and is not kept`, async () => {
      const requests = recordFetch();
      const gives: ((token: string) => void)[] = [];
      const ask = () => new Promise<string>((resolve) => gives.push(resolve));
      let email: string | null | undefined;
      const own = createTracker({
        endpoint: "https://api.example.org/graphql",
        appName: "journeys-admin",
        get getToken() {
          return isSame ? ask : () => ask();
        },
        getUser: () => ({ email }),
        internalEmails: "",
        onDrop: () => undefined,
      });
      for (email of emails) own.track("journey_create_clicked");
      assert.equal(gives.length, calls);
      gives.forEach((give, at) => give(String(at)));
      await settle();
      assert.deepEqual(requests.map((each) => each.init.headers["authorization"]), sent);
      own.track("journey_create_clicked");
      assert.equal(gives.length, calls + 1);
    });
  }

  it("is given up after four tries, and makes room for other events", async () => {
    const requests = recordFetch();
    const getToken = mock.fn(() => new Promise<string>(() => undefined));
    const heard = tracker({ getToken });
    for (let event = 0; event < 201; event++) heard.tracker.track("journey_create_clicked");
    assert.deepEqual(heard.drops, ["journey_create_clicked overflow"]);
    for (let turn = 0; turn < 10; turn++) await wait(RETRIES_OVER);
    assert.equal(getToken.mock.callCount(), 4); // All events wait for the same token.
    assert.deepEqual(heard.errors, Array<string>(200).fill("journey_create_clicked TimeoutError"));
    heard.tracker.track("journey_create_clicked");
    assert.equal(heard.drops.length, 1);
    assert.equal(requests.length, 0);
  });
});

describe("a transport that does not answer", () => {
  it("is told so after ten seconds, and tried again", async () => {
    const signals: AbortSignal[] = [];
    const transport: TrackerOptions["transport"] = (_, signal) => {
      signals.push(signal!);
      return signals.length === 1 ? new Promise(() => undefined) : Promise.resolve({ data: {} });
    };
    const heard = tracker({ endpoint: undefined, getToken: undefined, transport } as Partial<TrackerOptions>);
    heard.tracker.track("journey_create_clicked");
    await wait(9_999);
    assert.deepEqual(signals.map((each) => each.aborted), [false]);
    await wait(1);
    await wait(2_000);
    await wait(RETRIES_OVER); // What was answered is not told.
    assert.deepEqual(signals.map((each) => each.aborted), [true, false]);
    assert.deepEqual([heard.drops, heard.errors], [[], []]);
  });

  it("is given up after four tries, and makes room for other events", async () => {
    const transport = mock.fn(() => new Promise<never>(() => undefined));
    const heard = tracker({ endpoint: undefined, getToken: undefined, transport } as Partial<TrackerOptions>);
    for (let event = 0; event < 201; event++) heard.tracker.track("journey_create_clicked");
    assert.deepEqual(heard.drops, ["journey_create_clicked overflow"]);
    for (let turn = 0; turn < 10; turn++) await wait(RETRIES_OVER);
    assert.equal(transport.mock.callCount(), 4 * 200);
    assert.deepEqual(heard.errors, Array<string>(200).fill("journey_create_clicked TimeoutError"));
    heard.tracker.track("journey_create_clicked");
    assert.equal(heard.drops.length, 1);
  });

  it("is aborted if it is a fetch", async () => {
    const requests = recordFetch(() => new Promise<Response>(() => undefined), stored);
    tracker().tracker.track("journey_create_clicked");
    await wait(10_000);
    await wait(2_000);
    assert.deepEqual(requests.map((each) => each.init.signal?.aborted), [true, false]);
    assert.equal(input(requests[0]).clientEventId, input(requests[1]).clientEventId);
  });
});

describe("a transport that throws", () => {
  it("leaves no timer behind", async () => {
    mock.timers.reset();
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const transport = (): never => {
      throw Object.assign(new Error(), { name: "Broken", statusCode: 400 });
    };
    const heard = tracker({ endpoint: undefined, getToken: undefined, transport } as Partial<TrackerOptions>);
    heard.tracker.track("journey_create_clicked");
    await settle();
    assert.deepEqual([timers(), heard.errors], [before, ["journey_create_clicked Broken"]]);
  });
});

describe("the server's refusal", () => {
  const dropped = () => Response.json({ data: { eventCreate: null }, extensions: { signal: { events: [{ outcome: "dropped", reason: "description_pii" }] } } });

  it("reaches onDrop with its reason", async () => {
    recordFetch(dropped);
    const heard = tracker();
    heard.tracker.track("journey_create_clicked");
    await settle();
    assert.deepEqual([heard.drops, heard.errors], [["journey_create_clicked description_pii"], []]);
  });

  it("is logged without onDrop", async () => {
    const warn = mock.method(console, "warn", () => undefined);
    recordFetch(dropped);
    tracker({ onDrop: undefined }).tracker.track("journey_create_clicked");
    await settle();
    assert.deepEqual(warn.mock.calls.map((call) => call.arguments as unknown[]), [["signal: journey_create_clicked: description_pii"]]);
  });

  it("is no error, and a duplicate is neither", async () => {
    recordFetch(() => Response.json({ data: { eventCreate: null }, extensions: { signal: { events: [{ outcome: "duplicate", reason: null }] } } }));
    const heard = tracker();
    heard.tracker.track("journey_create_clicked");
    await settle();
    assert.deepEqual([heard.drops, heard.errors], [[], []]);
  });
});

describe("the requests under way", () => {
  it("never hold more keepalive bytes than a browser allows", async () => {
    let answer = (_: Response): void => undefined;
    const never = new Promise<Response>((resolve) => (answer = resolve));
    const requests = recordFetch(() => never.then((response) => response.clone()));
    const { track } = tracker().tracker;
    const description = { language: "ü".repeat(4_000) };
    for (let event = 0; event < 30; event++) track("ai_translation_language_picked", { entity: JOURNEY, description });
    const kept = requests.filter((each) => each.init.keepalive).map((each) => Buffer.byteLength(String(each.init.body)));
    assert.equal(requests.length, 30);
    const total = kept.reduce((sum, bytes) => sum + bytes, 0);
    assert.ok(total > 50_000 && total <= 65_536, String(total));
    answer(stored());
    await settle();
    track("journey_create_clicked");
    assert.equal(requests[30]!.init.keepalive, true);
  });

  it("are bounded, however long the endpoint is away", async () => {
    const requests = recordFetch(() => new Promise<Response>(() => undefined));
    const heard = tracker();
    for (let event = 0; event < 205; event++) heard.tracker.track("journey_create_clicked");
    assert.equal(requests.length, 200);
    assert.deepEqual(heard.drops, Array.from({ length: 5 }, () => "journey_create_clicked overflow"));
  });
});

describe("a batch", () => {
  it("is one request after two seconds", async () => {
    const requests = recordFetch();
    const { track } = tracker({ batch: true }).tracker;
    for (let event = 0; event < 3; event++) track("journey_create_clicked");
    await wait(1_999);
    assert.equal(requests.length, 0);
    await wait(1);
    assert.equal(requests.length, 1);
    assert.match(requests[0]!.body.query, /\$input: \[EventCreateInput!\]!.*eventCreateMany\(input: \$input\)/);
    const ids = [requests[0]!.body.variables.input].flat().map((each) => each.clientEventId);
    assert.equal(new Set(ids).size, 3);
  });

  it("of one event is a single eventCreate", async () => {
    const requests = recordFetch();
    tracker({ batch: true }).tracker.track("journey_create_clicked");
    await wait(2_000);
    assert.match(requests[0]!.body.query, /eventCreate\(input: \$input\)/);
  });

  it("goes at once when it is full, when the page is hidden, and on flush", async () => {
    const requests = recordFetch();
    const { track, flush } = tracker({ batch: true }).tracker;
    for (let event = 0; event < 20; event++) track("journey_create_clicked");
    assert.equal(requests.length, 1);
    track("journey_create_clicked");
    page.fire("visibilitychange");
    assert.equal(requests.length, 1);
    page.visibilityState = "hidden";
    page.fire("visibilitychange");
    assert.equal(requests.length, 2);
    track("journey_create_clicked");
    flush();
    assert.equal(requests.length, 3);
    flush();
    await wait(10_000);
    assert.equal(requests.length, 3);
  });

  it("does not wait in a page that is hidden already", () => {
    const requests = recordFetch();
    page.visibilityState = "hidden";
    tracker({ batch: true }).tracker.track("journey_create_clicked");
    assert.equal(requests.length, 1);
  });

  it("listens to the page only while events wait", async () => {
    recordFetch();
    const listeners = new Set<unknown>();
    mock.method(page, "addEventListener", (_: string, listener: unknown) => listeners.add(listener));
    mock.method(page, "removeEventListener", (_: string, listener: unknown) => listeners.delete(listener));
    const { track } = tracker({ batch: true }).tracker;
    for (let round = 0; round < 2; round++) {
      track("journey_create_clicked");
      track("journey_create_clicked");
      assert.equal(listeners.size, 1);
      await wait(2_000);
      assert.equal(listeners.size, 0);
    }
  });

  it("is tried again whole, and tells of each refused event", async () => {
    const answer = () => Response.json({ data: { eventCreateMany: [] }, extensions: { signal: { events: [null, { outcome: "dropped", reason: "bot" }] } } });
    const requests = recordFetch(status(500), answer);
    const heard = tracker({ batch: true });
    heard.tracker.track("journey_create_clicked");
    heard.tracker.track("editor_helpscout_overlay_opened");
    heard.tracker.flush();
    await settle();
    await wait(2_000);
    assert.deepEqual(requests[0]!.body, requests[1]!.body);
    assert.deepEqual(heard.drops, ["editor_helpscout_overlay_opened bot"]);
  });

  it("that is refused for good is sent once more, each event alone", async () => {
    const bad = "editor_helpscout_overlay_opened";
    const requests = recordFetch(() => (JSON.stringify(requests.at(-1)!.body).includes(bad) ? status(400)() : stored()));
    const heard = tracker({ batch: true });
    heard.tracker.track("journey_create_clicked");
    heard.tracker.track(bad);
    heard.tracker.track("journey_create_clicked");
    await wait(2_000);
    for (let turn = 0; turn < 4; turn++) await wait(RETRIES_OVER);
    const [together, ...alone] = requests.map((each) => each.body.variables.input);
    assert.deepEqual(alone, together);
    assert.deepEqual([heard.drops, heard.errors], [[], [`${bad} Http400`]]);
  });

  it("that waits across midnight leaves out what belongs to the day before", async () => {
    const requests = recordFetch();
    const heard = tracker({ batch: true });
    mock.timers.setTime(Date.parse("2026-11-25T23:59:59.500Z"));
    heard.tracker.track("journey_create_clicked");
    mock.timers.setTime(Date.parse("2026-11-26T00:00:00.500Z"));
    heard.tracker.track("editor_helpscout_overlay_opened");
    await wait(2_000);
    assert.deepEqual(requests.map((each) => input(each)["eventType"]), ["editor_helpscout_overlay_opened"]);
    assert.deepEqual(heard.drops, ["journey_create_clicked expired"]);
  });
});
