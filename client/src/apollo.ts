/** The transport for apps with an Apollo Client, version 3.8 or newer, whose links add the login token. */
import { ApolloLink, gql } from "@apollo/client";

import { type Answer, sendError, type Transport } from "./transport.js";

/** The parts of an Apollo Client that are used. Versions 3 and 4 both fit. */
export interface LinkedClient {
  // The two versions type a link differently.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly link: any;
  readonly defaultContext?: object | undefined;
}

/** Returns a transport that sends events through the client's links, without its cache. */
export function apolloTransport(client: LinkedClient): Transport {
  return ({ query, variables }, signal) =>
    new Promise((resolve, reject) => {
      let isOver = false;
      const link = new ApolloLink((operation) => client.link.request(guarded(operation, () => isOver)));
      const defaultContext = client.defaultContext as { readonly fetchOptions?: object } | undefined;
      // The page's address, which a browser would send as `Referer`, holds ids.
      const fetchOptions = { ...defaultContext?.fetchOptions, keepalive: true, referrerPolicy: "no-referrer" };
      const context = { ...defaultContext, fetchOptions };
      const answers = ApolloLink.execute(link, { query: gql(query), variables, context }, { client: client as never });
      const asked = answers.subscribe({ next: (answer) => resolve(answer as Answer), error: reject, complete: () => resolve({}) });
      // A link that still waits, for example for a token, then sends nothing.
      signal?.addEventListener("abort", () => {
        asked.unsubscribe();
        isOver = true; // For a link that goes on all the same.
      });
    });
}

/**
 * Returns the operation, changed so that no link can hold back its text, nor send it once it is over.
 *
 * `HttpLink` asks for the context just before it fetches, and would not see a signal that is already aborted.
 *
 * A persisted-query link would send a hash first, and the text only when the server asks for it. The event would be
 * lost if the page goes away before that, or if the server never asks.
 */
function guarded(operation: ApolloLink.Operation, isOver: () => boolean): ApolloLink.Operation {
  const getContext: typeof operation.getContext = () => {
    if (isOver()) throw sendError("TimeoutError", 504);
    return operation.getContext();
  };
  const setContext: typeof operation.setContext = (next) => {
    const { http } = getContext();
    operation.setContext(next);
    if (operation.getContext().http?.includeQuery === false) operation.setContext({ http: { ...http, includeQuery: true } });
  };
  return Object.defineProperties({} as typeof operation, {
    ...Object.getOwnPropertyDescriptors(operation),
    getContext: { value: getContext },
    setContext: { value: setContext },
  });
}
