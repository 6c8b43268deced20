/** The transport for apps that have an Apollo Client, version 3.8 or newer: its links add the login token. */
import { ApolloLink, gql } from "@apollo/client";

import type { Answer, Transport } from "./transport.js";

/** What is used of an Apollo Client; versions 3 and 4 both fit. */
export interface LinkedClient {
  // The two versions type a link in their own ways.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly link: any;
  readonly defaultContext?: object | undefined;
}

/** Sends events through the client's links, past its cache. */
export function apolloTransport(client: LinkedClient): Transport {
  const link = new ApolloLink((operation) => client.link.request(withText(operation)));
  return ({ query, variables }) =>
    new Promise((resolve, reject) => {
      const context = { ...client.defaultContext, fetchOptions: { keepalive: true } };
      const answers = ApolloLink.execute(link, { query: gql(query), variables, context }, { client: client as never });
      answers.subscribe({ next: (answer) => resolve(answer as Answer), error: reject, complete: () => resolve({}) });
    });
}

/**
 * The operation, but no link can keep its text back. A persisted-query link would send a hash first and the text only when
 * asked for it: the event would be lost with the page, or for good where the server does not ask.
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
