/** The transport for apps with an Apollo Client, version 3.8 or newer, whose links add the login token. */
import { ApolloLink, gql } from "@apollo/client";

import type { Answer, Transport } from "./transport.js";

/** The parts of an Apollo Client that are used. Versions 3 and 4 both fit. */
export interface LinkedClient {
  // The two versions type a link differently.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly link: any;
  readonly defaultContext?: object | undefined;
}

/** Returns a transport that sends events through the client's links, without its cache. */
export function apolloTransport(client: LinkedClient): Transport {
  const link = new ApolloLink((operation) => client.link.request(withText(operation)));
  return ({ query, variables }, signal) =>
    new Promise((resolve, reject) => {
      const defaultContext = client.defaultContext as { readonly fetchOptions?: object } | undefined;
      // The page's address, which a browser would send as `Referer`, holds ids.
      const fetchOptions = { ...defaultContext?.fetchOptions, keepalive: true, referrerPolicy: "no-referrer" };
      const context = { ...defaultContext, fetchOptions };
      const answers = ApolloLink.execute(link, { query: gql(query), variables, context }, { client: client as never });
      const asked = answers.subscribe({ next: (answer) => resolve(answer as Answer), error: reject, complete: () => resolve({}) });
      // A link that still waits, for example for a token, then sends nothing.
      signal?.addEventListener("abort", () => asked.unsubscribe());
    });
}

/**
 * Returns the operation, changed so that no link can hold back its text.
 *
 * A persisted-query link would send a hash first, and the text only when the server asks for it. The event would be
 * lost if the page goes away before that, or if the server never asks.
 */
function withText(operation: ApolloLink.Operation): ApolloLink.Operation {
  const setContext: typeof operation.setContext = (next) => {
    const { http } = operation.getContext();
    operation.setContext(next);
    if (operation.getContext().http?.includeQuery === false) operation.setContext({ http: { ...http, includeQuery: true } });
  };
  return Object.defineProperties({} as typeof operation, {
    ...Object.getOwnPropertyDescriptors(operation),
    setContext: { value: setContext },
  });
}
