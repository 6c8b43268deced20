/** The tests of the Apollo transport with Apollo Client 3. */
import { runAgain } from "./again.js";

await runAgain("apollo.test.ts", {
  "@apollo/client": "apollo-client-3/core/index.js",
  "@apollo/client/link/context": "apollo-client-3/link/context/index.js",
  "@apollo/client/link/persisted-queries": "apollo-client-3/link/persisted-queries/index.js",
});
