#!/usr/bin/env bash
# Mercurius with `jit` refuses an operation that it took before, or changes its values.
#
# Versions: mercurius 16.10.1 with its graphql-jit 0.8.9, graphql 16.15.0, fastify 5.12.8,
# Node.js 20.20.2.
#
# `jit: 2` has Mercurius compile an operation when it has come twice. The compiled one does not know
# the defaults of an input's fields. An app that leaves out `device: Device! = unknown` works in a
# test, and after each start of the server. From the third request on, it is told that the field
# was not provided, and each of its events is refused. If the field is set from a variable that is
# not given, the event is taken, but the resolver gets null for a field that can never be null, so
# that a `count: Int! = 1` counts as nothing.
#
# GraphQL's specification has the default used in both cases, and Mercurius does so without `jit`.
# Its documentation calls `jit` the minimum number of executions before a query is compiled, and
# names no such limit. Nor does the list of graphql-jit's differences from graphql-js, whose issues
# 91 (open) and 142 are about nulls and defaults.
#
# What the resolver gets, or the first error, in four requests that are alike. Seen on 2026-11-30:
#   without jit, one variable: 4 times {"name":"open","device":"unknown","count":1}
#   without jit, three variables: 4 times {"name":"open","device":"unknown","count":1}
#   jit 2, one variable: 2 times {"name":"open","device":"unknown","count":1}
#   jit 2, one variable: 2 times Field value.device of required type Device! was not provided.
#   jit 2, three variables: 2 times {"name":"open","device":"unknown","count":1}
#   jit 2, three variables: 2 times {"name":"open","device":null,"count":null}
#
# Exits 0 if it still is so, 1 if it is not. Needs node, npm and their registry.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init --yes >/dev/null
npm install --silent --no-audit --no-fund \
    mercurius@16.10.1 graphql-jit@0.8.9 graphql@16.15.0 fastify@5.12.8 >/dev/null

cat >run.mjs <<'JS'
import Fastify from "fastify";
import mercurius from "mercurius";

const schema = `
  enum Device { unknown mobile desktop }
  input Event { name: String! device: Device! = unknown count: Int! = 1 }
  type Query { events: Int }
  type Mutation { track(event: Event!): String }
`;
const resolvers = { Mutation: { track: (_, { event }) => JSON.stringify(event) } };
const cases = {
  "one variable": {
    query: "mutation ($event: Event!) { track(event: $event) }",
    variables: { event: { name: "open" } },
  },
  "three variables": {
    query: `mutation ($name: String!, $device: Device, $count: Int) {
      track(event: { name: $name, device: $device, count: $count })
    }`,
    variables: { name: "open" },
  },
};

for (const jit of [0, 2]) {
  const app = Fastify();
  app.register(mercurius, { schema, resolvers, jit });
  for (const [name, payload] of Object.entries(cases)) {
    const seen = new Map();
    for (let request = 0; request < 4; request++) {
      const answer = (await app.inject({ method: "POST", url: "/graphql", payload })).json();
      const text = answer.errors
        ? answer.errors[0].message.split("; ").at(-1)
        : answer.data.track;
      seen.set(text, (seen.get(text) ?? 0) + 1);
    }
    for (const [text, times] of seen) {
      console.log(`${jit ? `jit ${jit}` : "without jit"}, ${name}: ${times} times ${text}`);
    }
  }
  await app.close();
}
JS

cat >expected <<'END'
without jit, one variable: 4 times {"name":"open","device":"unknown","count":1}
without jit, three variables: 4 times {"name":"open","device":"unknown","count":1}
jit 2, one variable: 2 times {"name":"open","device":"unknown","count":1}
jit 2, one variable: 2 times Field value.device of required type Device! was not provided.
jit 2, three variables: 2 times {"name":"open","device":"unknown","count":1}
jit 2, three variables: 2 times {"name":"open","device":null,"count":null}
END

node run.mjs | tee seen
diff expected seen
