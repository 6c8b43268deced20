/**
 * Plays an app whose Apollo Client has a persisted-query link, through a real gateway, and prints as JSON what it saw. It
 * asserts nothing: `tests/api/test_gateway.py` does, and looks into the database.
 *
 * Usage: node --import tsx e2e/persisted.ts '{"uri": URL, "headers": {...}, "own": {...}}'
 */
import { createHash } from "node:crypto";

import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { createPersistedQueryLink } from "@apollo/client/link/persisted-queries";

import { apolloTransport } from "../src/apollo.js";
import { createTracker } from "../src/index.js";

interface Setup {
  readonly uri: string;
  readonly headers: Record<string, string>;
  /** An event's input, which the app sends by an operation of its own. */
  readonly own: object;
}
interface Sent {
  readonly query?: string;
  readonly variables?: { readonly input?: { readonly clientEventId?: string } };
}

const { uri, headers, own } = JSON.parse(process.argv[2]!) as Setup;
const sent: Sent[] = [];
const recorded: typeof fetch = (address, init) => {
  sent.push(JSON.parse(String(init?.body)) as Sent);
  return fetch(address, init);
};
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const link = createPersistedQueryLink({ sha256 }).concat(new HttpLink({ uri, headers, fetch: recorded }));
const client = new ApolloClient({ cache: new InMemoryCache(), link });

/** What became of the app's own operation, and in which steps it was sent. */
async function sendOwn(): Promise<object> {
  const before = sent.length;
  const { error } = await client.mutate({
    mutation: gql("mutation Own($input: EventCreateInput!) { eventCreate(input: $input) { id } }"),
    variables: { input: own },
    fetchPolicy: "no-cache",
    errorPolicy: "all",
  });
  return { error: error?.message ?? null, steps: sent.slice(before).map((each) => (each.query ? "text" : "hash")) };
}

/** What became of an event, and in which steps it was sent. */
async function track(): Promise<object> {
  const before = sent.length;
  const said: string[] = [];
  let answered: () => void = () => undefined;
  const answer = new Promise<void>((resolve) => (answered = resolve));
  const transport = apolloTransport(client);
  const { track } = createTracker({
    appName: "journeys-admin",
    getUser: () => ({ email: "user@example.org" }),
    internalEmails: "",
    transport: (operation) => transport(operation).finally(answered),
    onDrop: (_, reason) => said.push(reason),
    onError: (_, name) => said.push(name),
  });
  track("journey_create_clicked");
  await answer;
  await new Promise((resolve) => setImmediate(resolve)); // Until the tracker has read the answer.
  const requests = sent.slice(before);
  return { said, steps: requests.map((each) => (each.query ? "text" : "hash")), id: requests[0]?.variables?.input?.clientEventId };
}

const first = await track();
const operation = await sendOwn();
process.stdout.write(JSON.stringify({ first, operation, second: await track() }));
