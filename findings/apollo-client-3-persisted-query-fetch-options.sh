#!/usr/bin/env bash
# Apollo Client 3 loses `fetchOptions` of an operation when its persisted-query link sends the text.
#
# Versions: @apollo/client 3.14.1 (and 4.3.8 beside it, which keeps them), Node.js 20.20.2.
#
# The context of an operation can hold `fetchOptions`, such as `keepalive: true` for a request that has
# to outlive its page. The link sends a hash first, with these options. When the server answers
# `PersistedQueryNotFound`, the link sets `fetchOptions: { method: "POST" }` for the second request, in
# place of those that the operation came with. So the request that carries the text goes without
# `keepalive`, `referrerPolicy` and whatever else was set there.
#
# Seen on 2026-11-28:
#   3.14.1: hash keepalive=true referrerPolicy=no-referrer, text keepalive=undefined referrerPolicy=undefined
#   4.3.8: hash keepalive=true referrerPolicy=no-referrer, text keepalive=true referrerPolicy=no-referrer
#
# Exits 0 if it still is so, 1 if it is not. Needs node, npm and their registry.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init --yes >/dev/null
npm install --save-exact --ignore-scripts --no-audit --no-fund --loglevel=error \
  @apollo/client@4.3.8 apollo-3@npm:@apollo/client@3.14.1 graphql@16.11.0 rxjs@7.8.2 >/dev/null

cat >run.mjs <<'JS'
import { createHash } from "node:crypto";

import * as core4 from "@apollo/client";
import * as link4 from "@apollo/client/link/persisted-queries";
import * as core3 from "apollo-3/core/index.js";
import * as link3 from "apollo-3/link/persisted-queries/index.js";

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

async function stepsOf({ ApolloClient, gql, HttpLink, InMemoryCache }, { createPersistedQueryLink }) {
  const steps = [];
  const answers = async (address, init) => {
    const { query } = JSON.parse(init.body);
    steps.push(`${query ? "text" : "hash"} keepalive=${init.keepalive} referrerPolicy=${init.referrerPolicy}`);
    const notFound = { errors: [{ message: "PersistedQueryNotFound" }] };
    return Response.json(query ? { data: { hello: "hi" } } : notFound);
  };
  const http = new HttpLink({ uri: "https://api.example.org/graphql", fetch: answers });
  const link = createPersistedQueryLink({ sha256 }).concat(http);
  const client = new ApolloClient({ cache: new InMemoryCache(), link });
  await client.query({
    query: gql("{ hello }"),
    context: { fetchOptions: { keepalive: true, referrerPolicy: "no-referrer" } },
  });
  return steps.join(", ");
}

console.log(`3.14.1: ${await stepsOf(core3, link3)}`);
console.log(`4.3.8: ${await stepsOf(core4, link4)}`);
JS

node run.mjs | tee seen

diff - seen <<'TXT' || { echo "CHANGED: not what it was"; exit 1; }
3.14.1: hash keepalive=true referrerPolicy=no-referrer, text keepalive=undefined referrerPolicy=undefined
4.3.8: hash keepalive=true referrerPolicy=no-referrer, text keepalive=true referrerPolicy=no-referrer
TXT
echo "unchanged"
