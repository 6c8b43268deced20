/** The size of core plus React hook as an app's bundler would ship it: a limit, not a measurement of speed. */
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const LIMIT_BYTES = 3_300;

const { outputFiles } = await build({
  stdin: {
    contents: 'export * from "./dist/esm/index.js"; export * from "./dist/esm/react.js";',
    resolveDir: new URL("..", import.meta.url).pathname,
  },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2020",
  external: ["react"],
  write: false,
});
const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`core plus hook: ${bytes} bytes gzipped, of ${LIMIT_BYTES}`);
process.exit(bytes < LIMIT_BYTES ? 0 : 1);
