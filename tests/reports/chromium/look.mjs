/**
 * Opens a usage page in a real Chromium and prints what it saw as JSON. It asserts nothing:
 * `tests/reports/test_page_in_chromium.py` does.
 *
 * Usage: node look.mjs '{"page": PATH, "browser": PATH, "picture": PATH or null}'
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

const { page: path, browser: executablePath, picture } = JSON.parse(process.argv[2]);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const address = pathToFileURL(path).href;
const QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, chromiumSandbox: false, args: QUIET });
const seen = { requests: [], console: [], axe: {}, colours: {} };

async function open(options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.setDefaultTimeout(180_000); // A busy machine is slow.
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  await page.goto(address);
  return page;
}

/** What axe finds wrong: the rule, its help, and where. */
async function checked(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0].html.slice(0, 200)}: ${nodes[0].failureSummary}`);
}

const colour = (page, selector, name) =>
  page.evaluate(([at, property]) => getComputedStyle(document.querySelector(at))[property], [selector, name]);

for (const colorScheme of ["light", "dark"]) {
  const page = await open({ colorScheme });
  await page.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
  seen.axe[colorScheme] = await checked(page);
  seen.colours[colorScheme] = { paper: await colour(page, "body", "backgroundColor"), bar: await colour(page, "svg path[fill='var(--bar)']", "fill") };
  await page.close();
}

{
  const page = await open();
  await page.keyboard.press("Tab");
  seen.firstFocus = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press("Enter");
  seen.afterSkip = await page.evaluate(() => document.activeElement.id);
  const closed = page.locator("details:not([open]) > summary").first();
  seen.closedBefore = await page.locator("details:not([open])").count();
  await closed.focus();
  await page.keyboard.press("Enter");
  seen.closedAfter = await page.locator("details:not([open])").count();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("a.csv").first().press("Enter")]);
  seen.download = { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  await page.close();
}

{
  const page = await open({ viewport: { width: 360, height: 800 } });
  seen.tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.close();
}

{
  const page = await open({ colorScheme: "dark" });
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  seen.colours.print = { paper: await colour(page, "body", "backgroundColor"), bar: await colour(page, "svg path[fill='var(--bar)']", "fill") };
  seen.printedTables = await page.evaluate(() => [...document.querySelectorAll("table")].filter((each) => !each.checkVisibility()).length);
  seen.pdf = (await page.pdf({ preferCSSPageSize: true })).length;
  await page.close();
}

{
  // Whatever got into the page: the browser itself refuses to run or to fetch it.
  const page = await browser.newPage();
  page.setDefaultTimeout(180_000);
  const fetched = [];
  page.on("requestfinished", (request) => fetched.push(request.url()));
  page.on("requestfailed", (request) => fetched.push(request.failure().errorText === "csp" ? "refused" : request.url()));
  const html = await readFile(path, "utf8");
  const attack = `<img src="https://example.org/i.png"><script>document.title = "ran"</script><iframe src="https://example.org/"></iframe>`;
  await page.setContent(html.replace("<main", () => `${attack}<main`), { waitUntil: "load" });
  seen.attack = { title: await page.title(), fetched };
  await page.close();
}

if (picture) {
  const page = await open({ viewport: { width: 1000, height: 1150 } });
  await page.screenshot({ path: picture });
  await page.close();
}
await browser.close();
console.log(JSON.stringify(seen));
