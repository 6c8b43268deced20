/** The built package as an app gets it: both module systems, and types under every resolution in use. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

const client = new URL("..", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "signal-client-"));
const modules = join(folder, "node_modules");
mkdirSync(join(modules, "@types"), { recursive: true });
mkdirSync(join(modules, "@apollo"));
symlinkSync(client, join(modules, "signal-client"));
for (const name of ["react", "graphql", "rxjs", "@types/react", "@apollo/client"]) symlinkSync(join(client, "node_modules", name), join(modules, name));
after(() => rmSync(folder, { recursive: true }));

const EXPORTS: Record<string, string[]> = {
  "signal-client": ["createTracker", "routeTemplate"],
  "signal-client/react": ["SignalProvider", "useTrackEvent", "useTrackWhen"],
  "signal-client/apollo": ["apolloTransport"],
};

describe("the package", () => {
  for (const [name, expected] of Object.entries(EXPORTS)) {
    it(`gives the same from ${name} to import and require`, async () => {
      const imported = (await import(name)) as object;
      const required = createRequire(import.meta.url)(name) as object;
      assert.deepEqual(Object.keys(imported).sort(), expected);
      assert.deepEqual(Object.keys(required).filter((key) => key !== "__esModule").sort(), expected);
    });
  }

  it("has no runtime dependency", () => {
    const manifest = createRequire(import.meta.url)("../package.json") as { dependencies?: object };
    assert.equal(manifest.dependencies, undefined);
  });

  const source = `
    import { createTracker, routeTemplate, type EventType } from "signal-client";
    import { SignalProvider, useTrackEvent } from "signal-client/react";
    import { apolloTransport } from "signal-client/apollo";
    const name = "journey_create_clicked" satisfies EventType;
    export function Part(): void { useTrackEvent()(name); }
    createTracker({ appName: "cms", endpoint: "/", getToken: () => "t", getUser: () => null, internalEmails: "" }).track(name);
    const route: string | undefined = routeTemplate("/x");
    export { apolloTransport, route, SignalProvider };
    // @ts-expect-error the types are really there
    useTrackEvent()("no_such_event");
  `;
  it("has types for every resolution in use", () => {
    const resolutions = { nodenext: "nodenext", bundler: "esnext", node10: "commonjs" };
    const projects = Object.entries(resolutions).map(([moduleResolution, module]) => {
      const files = moduleResolution === "nodenext" ? ["nodenext.mts", "nodenext.cts"] : [`${moduleResolution}.ts`];
      for (const file of files) writeFileSync(join(folder, file), source);
      const options = { noEmit: true, strict: true, skipLibCheck: true, target: "es2020", lib: ["es2020", "dom"], types: ["react"] };
      const project = join(folder, `${moduleResolution}.json`);
      writeFileSync(project, JSON.stringify({ compilerOptions: { ...options, module, moduleResolution }, files }));
      return project;
    });
    try {
      // One process, which reads what all of them share once.
      execFileSync(process.execPath, [join(client, "node_modules/typescript/bin/tsc"), "-b", ...projects], { cwd: folder, encoding: "utf8" });
    } catch (error) {
      assert.fail((error as { stdout: string }).stdout);
    }
  });
});
