/** Reads a JSON list of routes on stdin, prints their templates: for the test that holds client and server together. */
import { readFileSync } from "node:fs";

import { routeTemplate } from "../dist/esm/index.js";

const routes = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(routes.map((route) => routeTemplate(route) ?? null)));
