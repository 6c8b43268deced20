/** Runs a test file once more, with other packages in the place of those that it and the sources import. */
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after } from "node:test";

import { build } from "esbuild";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

export async function runAgain(file: string, alias: Record<string, string>): Promise<void> {
  const outfile = path(`../node_modules/.again-${process.pid}.mjs`);
  after(() => rmSync(outfile, { force: true }));
  await build({
    entryPoints: [path(file)],
    bundle: true,
    platform: "node",
    format: "esm",
    alias,
    external: ["happy-dom"],
    // Some of the packages are CommonJS, and require what Node has.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    outfile,
  });
  await import(outfile);
}
