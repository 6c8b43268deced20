import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { ApolloClient as ApolloClient3, HttpLink as HttpLink3, InMemoryCache as InMemoryCache3 } from "apollo-client-3/core/index.js";

import { apolloTransport, type MutatingClient } from "../src/apollo.js";
import type { TrackerOptions } from "../src/index.js";
import { FakePage, input, NOON, offline, recordFetch, settle, status, stored, tracker, wait } from "./helpers.js";

const uri = "https://api.example.org/graphql";
const headers = { authorization: "JWT of.the.link" };
const fetchNow: typeof fetch = (...call) => fetch(...call);
const clients: Record<string, () => MutatingClient> = {
  "version 3": () => new ApolloClient3({ cache: new InMemoryCache3(), link: new HttpLink3({ uri, headers, fetch: fetchNow }) }),
  "version 4": () =>
    new ApolloClient({ cache: new InMemoryCache(), link: ApolloLink.from([new HttpLink({ uri, headers, fetch: fetchNow })]) }),
};

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOON });
  new FakePage().open();
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

for (const [version, client] of Object.entries(clients)) {
  describe(`the Apollo transport, ${version}`, () => {
    const heard = () => tracker({ endpoint: undefined, getToken: undefined, transport: apolloTransport(client()) } as Partial<TrackerOptions>);

    it("sends through the client's links, kept alive, and once per call", async () => {
      const requests = recordFetch(stored);
      const { tracker: own, drops, errors } = heard();
      own.track("journey_create_clicked");
      own.track("journey_create_clicked");
      await settle();
      assert.equal(requests.length, 2);
      assert.equal(new Set(requests.map((each) => input(each).clientEventId)).size, 2);
      assert.equal(requests[0]!.init.keepalive, true);
      assert.equal(requests[0]!.init.headers["authorization"], headers.authorization);
      assert.deepEqual([drops, errors], [[], []]);
    });

    for (const [name, answer] of Object.entries({ "a network error": offline, "a 503": status(503) })) {
      it(`tries again after ${name}, with the same id`, async () => {
        const requests = recordFetch(answer, stored);
        const { tracker: own, errors } = heard();
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
        const { tracker: own, errors } = heard();
        own.track("journey_create_clicked");
        await settle();
        await wait(60_000);
        assert.equal(requests.length, 1);
        assert.deepEqual(errors, [`journey_create_clicked ${error}`]);
      });
    }
  });
}
