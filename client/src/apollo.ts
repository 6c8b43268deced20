/** The transport for apps that have an Apollo Client, version 3.8 or newer: its links add the login token. */
import { gql } from "@apollo/client";

import type { Answer, Transport } from "./transport.js";

/** What is used of an Apollo Client; versions 3 and 4 both fit. */
export interface MutatingClient {
  // The two versions type these options and results in their own ways.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  mutate(options: any): Promise<any>;
}

/** Sends events with `client.mutate`, past the cache. */
export function apolloTransport(client: MutatingClient): Transport {
  return async ({ query, variables }) => {
    const { data, errors, extensions, error } = (await client
      .mutate({
        mutation: gql(query),
        variables,
        fetchPolicy: "no-cache",
        errorPolicy: "all",
        context: { fetchOptions: { keepalive: true } },
      })
      .catch((error: unknown) => ({ error }))) as Answer & { error?: ApolloFailure };
    // Version 3 throws a failed request inside another error, version 4 hands it over; only GraphQL errors have a list.
    if (error && !error.errors) throw error.networkError ?? error;
    return { data, errors: errors ?? error?.errors, extensions };
  };
}

interface ApolloFailure {
  readonly errors?: Answer["errors"];
  readonly networkError?: unknown;
}
