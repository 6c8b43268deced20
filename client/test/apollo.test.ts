import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache, Observable } from "@apollo/client";
import { setContext } from "@apollo/client/link/context";
import { createPersistedQueryLink } from "@apollo/client/link/persisted-queries";

import { apolloTransport } from "../src/apollo.js";
import type { TrackerOptions } from "../src/index.js";
import { FakePage, type Heard, input, NOON, offline, recordFetch, type Request, settle, status, stored, tracker, wait } from "./helpers.js";

const headers = { authorization: "JWT of.the.link" };
const http = (): ApolloLink => new HttpLink({ uri: "https://api.example.org/graphql", headers, fetch: (...call) => fetch(...call) });
const clientOf = (link: ApolloLink, more: object = {}): ApolloClient => new ApolloClient({ cache: new InMemoryCache(), link, ...more });
const trackerOf = (client: ApolloClient): Heard =>
  tracker({ endpoint: undefined, getToken: undefined, transport: apolloTransport(client) } as Partial<TrackerOptions>);

const { version } = clientOf(http());

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOON });
  new FakePage().open();
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

describe(`the Apollo transport, version ${version}`, () => {
  it("sends through the client's links, kept alive, and once per call", async () => {
    const requests = recordFetch(stored);
    const { tracker: own, drops, errors } = trackerOf(clientOf(http()));
    own.track("journey_create_clicked");
    own.track("journey_create_clicked");
    await settle();
    assert.equal(requests.length, 2);
    assert.equal(new Set(requests.map((each) => input(each).clientEventId)).size, 2);
    assert.equal(requests[0]!.init.keepalive, true);
    assert.equal(requests[0]!.init.referrerPolicy, "no-referrer");
    assert.equal(requests[0]!.init.headers["authorization"], headers.authorization);
    assert.deepEqual([drops, errors], [[], []]);
  });

  it("sends in the same turn", () => {
    const requests = recordFetch(stored);
    trackerOf(clientOf(http())).tracker.track("journey_create_clicked");
    assert.equal(requests.length, 1);
  });

  it("uses the client's default context, and the links it has by then", async () => {
    const requests = recordFetch(stored);
    const fetchOptions = { mode: "same-origin", keepalive: false, referrerPolicy: "unsafe-url" };
    const client = clientOf(ApolloLink.empty(), { defaultContext: { headers: { "x-of-the-app": "yes" }, fetchOptions } });
    const { tracker: own } = trackerOf(client);
    client.setLink(http());
    own.track("journey_create_clicked");
    await settle();
    const { init } = requests[0]!;
    assert.equal(init.headers["x-of-the-app"], "yes");
    assert.deepEqual([init.mode, init.keepalive, init.referrerPolicy], ["same-origin", true, "no-referrer"]);
  });

  it("gives links an operation like any other", async () => {
    const seen: Record<string, unknown>[] = [];
    const watch = new ApolloLink((operation, forward) => {
      operation.setContext(({ headers: before }: { headers?: object }) => ({ headers: { ...before, "x-watched": "yes" } }));
      seen.push({ ...operation });
      return forward(operation);
    });
    const requests = recordFetch(stored);
    const client = clientOf(ApolloLink.from([watch, http()]));
    await client.mutate({ mutation: gql("mutation Own { own }"), fetchPolicy: "no-cache" });
    trackerOf(client).tracker.track("journey_create_clicked");
    await settle();
    assert.equal(requests[1]!.init.headers["x-watched"], "yes");
    assert.deepEqual(Object.keys(seen[1]!).sort(), Object.keys(seen[0]!).sort());
  });

  for (const [name, answer] of Object.entries({ "a network error": offline, "a 503": status(503) })) {
    it(`tries again after ${name}, with the same id`, async () => {
      const requests = recordFetch(answer, stored);
      const { tracker: own, errors } = trackerOf(clientOf(http()));
      own.track("journey_create_clicked");
      await settle();
      await wait(2_000);
      assert.equal(requests.length, 2);
      assert.equal(input(requests[0]).clientEventId, input(requests[1]).clientEventId);
      assert.deepEqual(errors, []);
    });
  }

  const refused = () => Response.json({ data: { eventCreate: null }, errors: [{ message: "no", extensions: { code: "UNAUTHENTICATED" } }] });
  for (const [name, answer, error] of [["a 400", status(400), "ServerError"], ["a refused caller", refused, "UNAUTHENTICATED"]] as const) {
    it(`does not try again after ${name}`, async () => {
      const requests = recordFetch(answer);
      const { tracker: own, errors } = trackerOf(clientOf(http()));
      own.track("journey_create_clicked");
      await settle();
      await wait(60_000);
      assert.equal(requests.length, 1);
      assert.deepEqual(errors, [`journey_create_clicked ${error}`]);
    });
  }

  it("reports the server's reason for a drop", async () => {
    recordFetch(() => Response.json({ data: { eventCreate: null }, extensions: { signal: { events: [{ reason: "rate_limited" }] } } }));
    const { tracker: own, drops } = trackerOf(clientOf(http()));
    own.track("journey_create_clicked");
    await settle();
    assert.deepEqual(drops, ["journey_create_clicked rate_limited"]);
  });

  it("sends nothing after ten seconds, when a link has waited for a token", async () => {
    const requests = recordFetch(stored);
    let give = (_: object): void => undefined;
    let asked = 0;
    // Only the first token takes long.
    const slow = setContext(() => (asked++ ? {} : new Promise<object>((resolve) => (give = resolve))));
    const { tracker: own, errors } = trackerOf(clientOf(slow.concat(http())));
    own.track("journey_create_clicked");
    await settle();
    await wait(10_000);
    give({});
    await settle();
    assert.equal(requests.length, 0);
    await wait(2_000);
    assert.equal(requests.length, 1);
    assert.deepEqual(errors, []);
  });

  for (const sets of [true, false]) {
    it(`sends nothing after ten seconds, when a link goes on that ${sets ? "sets a token" : "only waits"}`, async () => {
      const requests = recordFetch(stored);
      const ends: string[] = [];
      let give = (): void => undefined;
      let asked = 0;
      // It does not notice that nobody waits for it any more.
      const slow = new ApolloLink(
        (operation, forward) =>
          new Observable<ApolloLink.Result>((observer) => {
            void new Promise<void>((resolve) => (asked++ ? resolve() : (give = resolve)))
              .then(() => {
                if (sets) operation.setContext({ headers });
                forward(operation).subscribe(observer);
              })
              .then(
                () => ends.push("forwarded"),
                (error: Error) => ends.push(error.name),
              );
          }),
      );
      const { tracker: own, errors } = trackerOf(clientOf(slow.concat(http())));
      own.track("journey_create_clicked");
      await wait(10_000);
      give();
      await settle();
      assert.deepEqual([requests.length, ends], [0, ["TimeoutError"]]);
      await wait(2_000);
      assert.deepEqual([requests.length, ends], [1, ["TimeoutError", "forwarded"]]);
      assert.deepEqual(errors, []);
    });
  }

  it("lets links look at the context while the request is ended", async () => {
    recordFetch(() => new Promise<Response>(() => undefined));
    const seen: unknown[] = [];
    const watch = new ApolloLink(
      (operation, forward) =>
        new Observable<ApolloLink.Result>((observer) => {
          const asked = forward(operation).subscribe(observer);
          return () => {
            asked.unsubscribe();
            seen.push(operation.getContext()["credentials"]);
          };
        }),
    );
    const client = clientOf(watch.concat(http()), { defaultContext: { credentials: "include" } });
    trackerOf(client).tracker.track("journey_create_clicked");
    await wait(10_000);
    assert.deepEqual(seen, ["include"]);
  });

  it("reports links that answer nothing", async () => {
    const { tracker: own, errors } = trackerOf(clientOf(ApolloLink.empty()));
    own.track("journey_create_clicked");
    await settle();
    assert.deepEqual(errors, ["journey_create_clicked NoData"]);
  });
});

describe(`the Apollo transport behind a persisted-query link, version ${version}`, () => {
  const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
  const persisted = (more: object = {}): ApolloClient => clientOf(ApolloLink.from([createPersistedQueryLink({ sha256, ...more }), http()]));
  const textOf = (request: Request | undefined): string | undefined => request?.body.query;
  const noText = (): Response =>
    Response.json({ errors: [{ message: "Must provide query string.", extensions: { code: "BAD_REQUEST" } }] });
  const refuseHashes = (): Request[] => {
    const requests = recordFetch(() => (textOf(requests.at(-1)) ? stored() : noText()));
    return requests;
  };
  /** What the app itself sends with the client, to a server that has never seen it. */
  const send = (client: ApolloClient): Promise<unknown> =>
    client.mutate({ mutation: gql("mutation Own { own }"), fetchPolicy: "no-cache", errorPolicy: "all" }).catch((error: unknown) => error);

  for (const options of [{}, { useGETForHashedQueries: true }, { retry: () => true }]) {
    it(`sends the text at once, kept alive, with ${JSON.stringify(Object.keys(options))} set`, async () => {
      const requests = refuseHashes();
      const client = persisted(options);
      const { tracker: own, errors } = trackerOf(client);
      for (const each of ["first", "second"]) {
        own.track("journey_create_clicked");
        await settle();
        assert.match(textOf(requests.at(-1)) ?? "none", /^mutation Signal/, each);
        assert.equal(requests.at(-1)!.init.keepalive, true);
        assert.equal(requests.at(-1)!.init.headers["authorization"], headers.authorization);
      }
      assert.equal(requests.length, 2);
      assert.deepEqual(errors, []);
      // The chain is as it was for the app: its own operations go as hashes.
      await send(client);
      assert.equal(textOf(requests[2]), undefined);
    });
  }

  it("sends the text when the server would ask for it, too", async () => {
    const notFound = (): Response => Response.json({ errors: [{ message: "PersistedQueryNotFound" }] });
    const requests = recordFetch(() => (textOf(requests.at(-1)) ? stored() : notFound()));
    const client = persisted();
    trackerOf(client).tracker.track("journey_create_clicked");
    await settle();
    assert.equal(requests.length, 1);
    await send(client);
    assert.deepEqual(requests.map((each) => Boolean(textOf(each))), [true, false, true]);
  });

  it("keeps what other links and the app set for the request", async () => {
    const requests = refuseHashes();
    const include = new ApolloLink((operation, forward) => {
      operation.setContext({ http: { includeExtensions: true } });
      operation.extensions["of"] = "the app";
      return forward(operation);
    });
    const link = ApolloLink.from([include, createPersistedQueryLink({ sha256 }), http()]);
    trackerOf(clientOf(link)).tracker.track("journey_create_clicked");
    await settle();
    const { extensions } = requests[0]!.body as { extensions?: { of?: string } };
    assert.equal(extensions?.of, "the app");
    assert.match(textOf(requests[0]) ?? "none", /^mutation Signal/);
  });

  it("reports an event whose hash the link cannot make, unless it is led past the link", async () => {
    const requests = refuseHashes();
    const listed = createPersistedQueryLink({
      generateHash: () => {
        throw new RangeError("not in the manifest");
      },
    });
    const { tracker: own, errors } = trackerOf(clientOf(listed.concat(http())));
    own.track("journey_create_clicked");
    await settle();
    for (let retry = 0; retry < 3; retry++) await wait(60_000);
    assert.deepEqual([requests.length, errors], [0, ["journey_create_clicked RangeError"]]);
    const past = ApolloLink.split((operation) => operation.operationName === "Signal", http(), listed.concat(http()));
    trackerOf(clientOf(past)).tracker.track("journey_create_clicked");
    await settle();
    assert.equal(requests.length, 1);
  });
});
