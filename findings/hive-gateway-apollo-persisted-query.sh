#!/usr/bin/env bash
# Hive Gateway, as installed, does not tell Apollo Client's persisted-query link to send the text of an operation.
#
# Versions: @graphql-hive/gateway 2.15.1, @apollo/client 4.3.8, Node.js 20.20.2.
#
# The link first sends the SHA-256 hash of an operation instead of its text. It expects a server that
# does not know the hash, or no hashes at all, to answer `PersistedQueryNotFound` or
# `PersistedQueryNotSupported`, and then sends the text. The gateway answers `Must provide query
# string.` with the code BAD_REQUEST, which the link hands on as an error of the operation. So every
# operation of the app fails, each time, and no text is ever sent. With persisted operations set up in
# the gateway it works (`plugins: () => [useAPQ()]`, or `persistedDocuments` as below).
#
# Seen on 2026-11-28:
#   without the link: sent ["text"], data {"hello":"hi"}, error none
#   with the link: sent ["hash"], data none, error Must provide query string. BAD_REQUEST
#   with the link, asked for the text: sent ["hash","text"], data {"hello":"hi"}, error none
#
# Exits 0 if it still is so, 1 if it is not. Needs node, npm and their registry.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init --yes >/dev/null
npm install --save-exact --ignore-scripts --no-audit --no-fund --loglevel=error \
  @graphql-hive/gateway@2.15.1 graphql@16.11.0 @apollo/client@4.3.8 rxjs@7.8.2 >/dev/null

cat >gateway.config.mjs <<'JS'
import { defineConfig } from "@graphql-hive/gateway";

const message = "PersistedQueryNotSupported";
export const gatewayConfig = defineConfig({
  proxy: { endpoint: process.env.UPSTREAM },
  schema: "./schema.graphql",
  host: "127.0.0.1",
  port: Number(process.env.PORT),
  persistedDocuments: process.env.ASKS
    ? { allowArbitraryDocuments: true, getPersistedOperation: () => null, customErrors: { notFound: { message } } }
    : undefined,
});
JS

echo 'type Query { hello: String }' >schema.graphql

cat >run.mjs <<'JS'
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";

const upstream = createServer((request, response) => {
  response.setHeader("content-type", "application/json").end(JSON.stringify({ data: { hello: "hi" } }));
});
const listen = async (server) => {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server.address().port;
};
const UPSTREAM = `http://127.0.0.1:${await listen(upstream)}/graphql`;

async function withGateway(settings, use) {
  const free = createServer();
  const port = await listen(free);
  await once(free.close(), "close");
  const environment = { ...process.env, NODE_ENV: "production", UPSTREAM, PORT: String(port), ...settings };
  const command = ["node_modules/.bin/hive-gateway", "proxy", "-c", "gateway.config.mjs"];
  const gateway = spawn(process.execPath, command, { env: environment, stdio: "ignore" });
  const ended = once(gateway, "exit");
  try {
    const up = () => fetch(`http://127.0.0.1:${port}/healthcheck`).then((answer) => answer.ok, () => false);
    for (const giveUp = Date.now() + 90_000; !(await up()); ) {
      if (Date.now() > giveUp || gateway.exitCode !== null) throw new Error("the gateway does not start");
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await use(`http://127.0.0.1:${port}/graphql`);
  } finally {
    gateway.kill();
    await ended;
  }
}

const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const seen = [];
async function query(name, uri, links = []) {
  const sent = [];
  const recorded = (address, init) => {
    sent.push(JSON.parse(init.body).query ? "text" : "hash");
    return fetch(address, init);
  };
  const link = [...links, new HttpLink({ uri, fetch: recorded })].reduce((before, next) => before.concat(next));
  const client = new ApolloClient({ cache: new InMemoryCache(), link });
  const { data, error } = await client.query({ query: gql("{ hello }"), fetchPolicy: "no-cache", errorPolicy: "all" });
  const failure = error ? `${error.message} ${error.errors?.[0]?.extensions?.code}` : "none";
  seen.push(`${name}: sent ${JSON.stringify(sent)}, data ${data ? JSON.stringify(data) : "none"}, error ${failure}`);
}

await withGateway({}, async (uri) => {
  await query("without the link", uri);
  await query("with the link", uri, [new PersistedQueryLink({ sha256 })]);
});
await withGateway({ ASKS: "yes" }, async (uri) => {
  await query("with the link, asked for the text", uri, [new PersistedQueryLink({ sha256 })]);
});
upstream.close();

console.log(seen.join("\n"));
JS

node run.mjs | tee seen

diff - seen <<'TXT' || { echo "CHANGED: not what it was"; exit 1; }
without the link: sent ["text"], data {"hello":"hi"}, error none
with the link: sent ["hash"], data none, error Must provide query string. BAD_REQUEST
with the link, asked for the text: sent ["hash","text"], data {"hello":"hi"}, error none
TXT
echo "unchanged"
