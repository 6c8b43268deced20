/**
 * Opens the page of `page.ts` in a real Chromium against a real server, plays one scenario after another, and prints what each
 * saw as JSON. It asserts nothing: `tests/client/test_browser.py` does, and looks into the database.
 *
 * Usage: node e2e/run.mjs '{"endpoint": URL, "tokens": [...], "browser": PATH}'
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const { endpoint, tokens, browser: executablePath } = JSON.parse(process.argv[2]);
// Chromium's own headless name is a bot's. Set for the whole browser: a page's own setting ends with the page.
const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";
const AT_ONCE = 4; // Most scenarios only wait.
const QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const bundle = await build({
  entryPoints: [new URL("page.ts", import.meta.url).pathname],
  bundle: true,
  format: "iife",
  define: { "process.env.NODE_ENV": '"development"' }, // StrictMode runs effects twice only there.
  write: false,
});
const script = bundle.outputFiles[0].text;

const CORS = { "access-control-allow-origin": "*", "access-control-allow-headers": "authorization,content-type" };
const faults = {
  "/fault/500": (response) => response.writeHead(500, CORS).end("broken"),
  "/fault/garbage": (response) => response.writeHead(200, { ...CORS, "content-type": "application/json" }).end("<html>{"),
  "/fault/slow": () => undefined, // Never answers.
  "/fault/cut": (response) => response.destroy(),
};
const app = `<!doctype html><body><script>${script.replaceAll("</script", "<\\/script")}</script>`;
const pages = createServer((request, response) => {
  const fault = faults[request.url];
  if (!fault) return response.setHeader("content-type", "text/html").end(request.url === "/left" ? "" : app);
  if (request.method === "OPTIONS") return response.writeHead(204, CORS).end();
  return fault(response);
});
const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));
const origin = await listen(pages);
// The same server, far away: a page has left before the preflight is answered.
const { hostname, port } = new URL(endpoint);
const farAway = createTcpServer((near) => {
  const far = connect(Number(port), hostname, () => setTimeout(() => near.pipe(far).pipe(near), 300));
  for (const socket of [near, far]) socket.on("error", () => near.destroy(far.destroy()));
});
const farEndpoint = `${await listen(farAway)}/graphql`;
const dead = "http://127.0.0.1:9/graphql"; // Port 9, discard: nothing listens.

const browser = await chromium.launch({ executablePath, chromiumSandbox: false, args: [...QUIET.split(" "), `--user-agent=${userAgent}`] });

/** One visitor: pages that share storage and cookies, and what they sent. */
async function visitor(token) {
  const context = await browser.newContext();
  const journey = randomUUID();
  const seen = { journey, requests: [], errors: [] };
  context.on("request", (request) => {
    if (request.method() === "POST") seen.requests.push(request);
  });
  context.on("weberror", (error) => seen.errors.push(String(error.error())));
  const address = (setup = {}) =>
    `${origin}/journeys/${journey}/edit?${encodeURIComponent(JSON.stringify({ endpoint, token, journey, ...setup }))}`;
  const open = async (setup) => {
    const page = await context.newPage();
    page.setDefaultTimeout(180_000); // A busy machine is slow.
    await page.goto(address(setup));
    await page.waitForSelector("#help");
    return page;
  };
  return { context, seen, open, address };
}

const bodies = (seen) => seen.requests.map((request) => JSON.parse(request.postData())?.variables.input).flat();
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const answered = (page) => page.waitForResponse((response) => response.request().method() === "POST" && response.ok());
/** Clicks, and waits until the server has answered. */
async function clickAndWait(page, selector = "#help") {
  const answer = answered(page);
  await page.click(selector);
  await answer;
}

const leavings = {};
for (const [name, setup] of Object.entries({ plain: {}, promised: { promised: true }, batch: { batch: true }, apollo: { apollo: true } })) {
  leavings[`navigates_at_once_${name}`] = async ({ open }) => {
    const page = await open({ ...setup, endpoint: farEndpoint, next: "/left" });
    await page.click("#help");
    await page.waitForURL("**/left");
  };
  leavings[`closes_at_once_${name}`] = async ({ open }) => {
    const page = await open({ ...setup, endpoint: farEndpoint });
    await page.evaluate(() => document.querySelector("#help").click());
    await page.close({ runBeforeUnload: true });
  };
}

const troubles = {};
for (const [name, url] of [["down", dead], ...Object.keys(faults).map((path) => [path.slice(7), origin + path])]) {
  troubles[`endpoint_${name}`] = async ({ open }) => {
    const page = await open({ endpoint: url });
    await page.click("#help");
    await pause(2_500); // Long enough for a first retry.
    await page.click("#help");
    return { shown: await page.textContent("#help") };
  };
}

const silences = {};
for (const user of ["loading", "absent", "internal"]) {
  silences[`user_${user}`] = async ({ open }) => {
    const page = await open({ user });
    await page.click("#help");
    await page.click("#overlay");
    await pause(1_000);
    return { shown: await page.textContent("#help"), stored: await page.evaluate(() => sessionStorage.length) };
  };
}

const scenarios = {
  async click({ open, seen }) {
    const page = await open();
    await clickAndWait(page);
    return { headers: await seen.requests[0].allHeaders() };
  },
  async double_click({ open, seen }) {
    const page = await open();
    await page.dblclick("#help");
    while (seen.requests.length < 2 || !(await Promise.all(seen.requests.map((request) => request.response())))) await pause(50);
  },
  async overlay_under_strict_mode({ open }) {
    const page = await open();
    await clickAndWait(page, "#overlay");
    await page.click("#overlay");
    await clickAndWait(page, "#overlay");
  },
  async overlay_closed_in_a_hidden_activity({ open }) {
    const page = await open();
    await clickAndWait(page, "#overlay");
    await page.click("#tab");
    await page.waitForSelector("#overlay", { state: "hidden" });
    await page.evaluate(() => document.querySelector("#overlay").click());
    await page.waitForFunction(() => document.querySelector("#overlay").textContent === "false");
    // Opened and shown in one go: the page never sees it closed.
    await page.evaluate(() => document.querySelector("#overlay").click());
    const answer = answered(page);
    await page.click("#tab");
    await answer;
  },
  async overlay_open_in_a_hidden_activity({ open }) {
    const page = await open();
    await clickAndWait(page, "#overlay");
    await page.click("#tab");
    await page.waitForSelector("#overlay", { state: "hidden" });
    await page.click("#tab");
    await page.waitForSelector("#overlay", { state: "visible" });
    await clickAndWait(page); // Sent after whatever showing it again would have sent.
  },
  async persisted_queries({ open }) {
    const page = await open({ apollo: true, persisted: true });
    await clickAndWait(page);
  },
  async link({ open }) {
    const page = await open({ endpoint: farEndpoint });
    await page.click("#leave");
    await page.waitForURL("**/left");
  },
  async offline_then_online({ open, context }) {
    const page = await open();
    await context.setOffline(true);
    await page.click("#help");
    await pause(2_500);
    const answer = answered(page);
    await context.setOffline(false);
    await answer;
  },
  async lost_answer({ open, context, seen }) {
    // The event is stored, but its answer never comes: the retry must not count twice.
    const page = await open();
    await context.route("**/graphql", async (route) => {
      await route.fetch();
      await route.abort();
    }, { times: 1 });
    await page.click("#help");
    while (seen.requests.length < 2) await pause(50);
    await seen.requests[1].response();
  },
  async unavailable_once({ open, context, seen }) {
    const page = await open();
    await context.route("**/graphql", (route) => route.fulfill({ status: 503, headers: CORS, body: "" }), { times: 1 });
    await page.click("#help");
    while (seen.requests.length < 2) await pause(50);
    await seen.requests[1].response();
  },
  async batch({ open }) {
    const page = await open({ batch: true });
    const answer = answered(page);
    await page.click("#help", { clickCount: 3 });
    await answer;
  },
  async two_tabs({ open }) {
    await clickAndWait(await open());
    await clickAndWait(await open());
  },
  async opened_by_script({ open, address, context }) {
    const page = await open();
    await clickAndWait(page);
    const opened = context.waitForEvent("page");
    await page.evaluate((url) => void window.open(url), address());
    const child = await opened;
    await child.waitForSelector("#help");
    const copied = await child.evaluate(() => sessionStorage.getItem("signal.sessionId"));
    await clickAndWait(child);
    return { copied: copied !== null };
  },
  async opened_by_a_page_without_an_event({ open, address, context }) {
    const page = await open();
    await clickAndWait(page);
    await page.reload();
    await page.waitForSelector("#help");
    const opened = context.waitForEvent("page");
    await page.evaluate((url) => void window.open(url), address());
    const child = await opened;
    await child.waitForSelector("#help");
    await clickAndWait(child);
    await clickAndWait(page);
  },
  async reload({ open }) {
    const page = await open();
    await clickAndWait(page);
    await page.reload();
    await page.waitForSelector("#help");
    await clickAndWait(page);
  },
  async midnight({ open, context }) {
    const tomorrow = new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth(), new Date().getUTCDate() + 1));
    const before = new Date(tomorrow.getTime() - 60_000);
    await context.clock.install({ time: before });
    const page = await open();
    await clickAndWait(page);
    await clickAndWait(page);
    await context.clock.setSystemTime(tomorrow);
    await clickAndWait(page);
  },
  ...leavings,
  ...silences,
  ...troubles,
};

const results = {};
const waiting = Object.entries(scenarios);
let turn = 0;
async function playOn() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const [name, play] = next;
    const { seen, context, ...visit } = await visitor(tokens[turn++ % tokens.length]);
    try {
      const told = await play({ seen, context, ...visit });
      results[name] = { ...told, journey: seen.journey, events: bodies(seen), requests: seen.requests.length, errors: seen.errors };
    } catch (error) {
      results[name] = { failed: String(error) };
    }
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, playOn));
await pause(3_000); // What was sent while leaving arrives: the browser is still there, only the pages are gone.
await browser.close();
pages.closeAllConnections();
pages.close();
farAway.close();
process.stdout.write(JSON.stringify(results));
